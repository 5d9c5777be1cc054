"""Nodes: what is kept of one, who has which address, and where that comes from."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import pickle
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import pytest

from netlog import ConfigError, Node, NodeFile, NodeMap, NodeSource, StaticNodes
from netlog.cli.check import check
from netlog.model.nodes import MAX_NODE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

SELF = Node("n1", addresses=["100.64.0.1", "fd7a:115c:a1e0::1"])
DB = Node("n2", "db", ["100.64.0.2", "fd7a:115c:a1e0::2"], tags=["tag:db"])
WEB = Node("n3", "web", ["100.64.0.3"])


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {"nodeId": "n"}),
        ({"name": "a.example.ts.net."}, {"nodeId": "n", "name": "a.example.ts.net"}),
        ({"name": "."}, {"nodeId": "n"}),
        ({"tags": ["tag:b", "tag:a", "tag:b", ""]}, {"nodeId": "n", "tags": ["tag:a", "tag:b"]}),
        ({"user": "u@example.com"}, {"nodeId": "n", "user": "u@example.com"}),
        ({"user": "u@example.com", "tags": ["t"]}, {"nodeId": "n", "tags": ["t"]}),
        ({"user": "u@example.com", "tags": [""]}, {"nodeId": "n", "user": "u@example.com"}),
        ({"addresses": ["::1", "1.2.3.4"]}, {"nodeId": "n", "addresses": ["1.2.3.4", "::1"]}),
        (
            {"addresses": ["1.1.1.2", "::2", "1.1.1.1", "::1"]},
            {"nodeId": "n", "addresses": ["1.1.1.2", "::2"]},
        ),
        ({"addresses": ["FD7A:0::0:1"]}, {"nodeId": "n", "addresses": ["fd7a::1"]}),
        ({"addresses": ["::ffff:1.2.3.4"]}, {"nodeId": "n", "addresses": ["1.2.3.4"]}),
        ({"addresses": [IPv6Address("::5")]}, {"nodeId": "n", "addresses": ["::5"]}),
        ({"name": "a\udcff\ud800b"}, {"nodeId": "n", "name": "a\ufffd\ufffdb"}),
        ({"os": "\udfff"}, {"nodeId": "n", "os": "\ufffd"}),
        pytest.param(
            {"user": "\ud800", "tags": iter(())},
            {"nodeId": "n", "user": "\ufffd"},
            id="tags are an iterator",
        ),
        ({"tags": ["\udc80", "\udc81"]}, {"nodeId": "n", "tags": ["\ufffd"]}),
        ({"name": 'q"\\\n\x00\x7f<&>'}, {"nodeId": "n", "name": 'q"\\\n\x00\x7f<&>'}),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_message_shows(members: dict[str, Any], expected: dict[str, Any]) -> None:
    """Members are in canonical form and in their order; empty ones are left out."""
    text = Node("n", **members).to_json()
    assert json.loads(text) == expected
    assert list(json.loads(text)) == list(expected)


def test_the_order_of_members() -> None:
    """It is nodeId name addresses os user tags."""
    node = Node("n", "a", ["::1", "1.1.1.1"], "linux", "u")
    assert node.to_json() == (
        b'{"nodeId":"n","name":"a","addresses":["1.1.1.1","::1"],"os":"linux","user":"u"}'
    )
    assert list(json.loads(Node("n", "a", ["::1"], "o", "u", ["t"]).to_json()))[-1] == "tags"


def test_a_node_is_a_value() -> None:
    """Nodes are compared by what they are, can be keys, and do not change."""
    node = Node("n", "a.", (address for address in ("::1", "1.1.1.1", "0::1")), tags={"b", "a"})
    assert node == Node("n", "a", [ip_address("::1"), "1.1.1.1"], tags=("a", "b"), user="gone")
    assert (node.name, node.addresses, node.tags) == ("a", ("::1", "1.1.1.1"), ("a", "b"))
    assert len({node, Node("n"), Node("n")}) == 2
    with pytest.raises(AttributeError):
        node.name = "b"  # type: ignore[misc]
    assert "_json" not in repr(node)
    assert dataclasses.replace(node, name="b").to_json() != node.to_json()
    assert pickle.loads(pickle.dumps(node)).to_json() == node.to_json()  # noqa: S301 - made here


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        ({"node_id": ""}, ValueError, "node_id"),
        ({"node_id": 5}, TypeError, "node_id"),
        ({"name": None}, TypeError, "name"),
        ({"tags": "tag:a"}, TypeError, "tags"),
        ({"tags": [5]}, TypeError, "tags"),
        ({"addresses": "1.2.3.4"}, TypeError, "addresses"),
        ({"addresses": ["1.2.3.4/32"]}, ValueError, "addresses: '1.2.3.4/32': expected an IPv4"),
        ({"addresses": ["1.2.3.4:5"]}, ValueError, "addresses"),
        ({"addresses": [""]}, ValueError, "addresses"),
        ({"addresses": [1]}, ValueError, "addresses"),
        ({"addresses": ["fe80::1%eth0"]}, ValueError, "without a zone"),
    ],
)
def test_what_is_no_node(members: dict[str, Any], error: type[Exception], text: str) -> None:
    """Junk raises, and the text names the member."""
    with pytest.raises(error, match=text):
        Node(**{"node_id": "n", **members})


def test_a_node_has_a_bound() -> None:
    """As JSON it has at most MAX_NODE_BYTES, exactly; escapes count as they are written."""
    room = MAX_NODE_BYTES - len('{"nodeId":"n","name":""}')
    assert len(Node("n", "a" * room).to_json()) == MAX_NODE_BYTES
    assert len(Node("n", "\x01" * (room // 6)).to_json()) <= MAX_NODE_BYTES
    for name in ("a" * (room + 1), "\x01" * (room // 6 + 1), "\ud800" * (room // 3 + 1)):
        with pytest.raises(ValueError, match=f"expected at most {MAX_NODE_BYTES} bytes"):
            Node("n", name)
    # addresses that no message shows cost nothing
    Node("n", addresses=[IPv4Address(number) for number in range(2000)])


def test_static_nodes() -> None:
    """By address all nodes are known, the own one too; a peer that is the own node is not."""
    source = StaticNodes(SELF, [WEB, DB, Node("n1", "other"), DB])
    assert isinstance(source, NodeSource)
    known = source.snapshot()
    assert known is source.snapshot()
    assert known.self_node is SELF
    assert {str(address): node.node_id for address, node in known.by_address.items()} == {
        "100.64.0.1": "n1",
        "fd7a:115c:a1e0::1": "n1",
        "100.64.0.2": "n2",
        "fd7a:115c:a1e0::2": "n2",
        "100.64.0.3": "n3",
    }
    assert StaticNodes(None, []).snapshot() == NodeMap()
    assert known == StaticNodes(SELF, [WEB, DB]).snapshot()
    assert hash(known) == hash(StaticNodes(SELF, [WEB, DB]).snapshot())
    with pytest.raises(TypeError):
        known.by_address[ip_address("::1")] = DB  # type: ignore[index]


@pytest.mark.parametrize(
    ("peers", "error", "text"),
    [
        ([DB, Node("n2", "x")], ValueError, "two different nodes have the id 'n2'"),
        ([DB, Node("n9", addresses=["100.64.0.2"])], ValueError, "'n2' and 'n9' both have 100.64"),
        ([Node("n9", addresses=["100.64.0.1"])], ValueError, "'n1' and 'n9' both have 100.64.0.1"),
        (["n2"], TypeError, "expected a Node"),
    ],
)
def test_nodes_that_contradict_each_other(peers: Any, error: Any, text: str) -> None:  # noqa: ANN401
    """Two nodes cannot have the same id or address."""
    with pytest.raises(error, match=text):
        StaticNodes(SELF, peers)


def test_a_map_of_ones_own() -> None:
    """A map copies what it is given, and knows where the own node is."""
    by_address: dict[Any, Any] = {ip_address("::ffff:100.64.0.2"): DB}
    known = NodeMap(SELF, by_address)
    by_address.clear()
    assert known.by_address[IPv4Address("100.64.0.2")] is DB
    assert known.by_address[IPv4Address("100.64.0.1")] is SELF
    for wrong in ({"100.64.0.2": DB}, {ip_address("::1"): "n2"}):
        with pytest.raises(TypeError, match="by_address"):
            NodeMap(None, wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="self_node"):
        NodeMap("n1")  # type: ignore[arg-type]


def test_merged_maps() -> None:
    """Every address counts; the last map says whose it is, and what is known of a node."""
    renamed = Node("n2", "db-new", ["100.64.0.9"])
    taken = Node("n4", "late", ["100.64.0.3"])
    relogged = Node("n1b", addresses=["100.64.0.11"])
    merged = NodeMap.merged(
        [
            StaticNodes(SELF, [DB, WEB]).snapshot(),
            StaticNodes(relogged, [renamed, taken]).snapshot(),
        ]
    )
    assert merged.self_node is relogged
    assert {str(address): node for address, node in merged.by_address.items()} == {
        "100.64.0.1": relogged,
        "fd7a:115c:a1e0::1": relogged,
        "100.64.0.11": relogged,
        "100.64.0.2": renamed,
        "fd7a:115c:a1e0::2": renamed,
        "100.64.0.9": renamed,
        "100.64.0.3": taken,
    }
    assert NodeMap.merged([]) == NodeMap()
    only = NodeMap(SELF)
    assert NodeMap.merged([only]) is only
    assert NodeMap.merged([only, NodeMap()]).self_node is SELF


TOML = """
[self]
node_id = "n1"
addresses = ["100.64.0.1", "fd7a:115c:a1e0::1"]

[[peers]]
node_id = "n2"
name = "db."
addresses = ["100.64.0.2", "fd7a:115c:a1e0:0::2"]
tags = ["tag:db"]

[[peers]]
node_id = "n3"
name = "web"
addresses = ["::ffff:100.64.0.3"]
"""
JSON = json.dumps(
    {
        "self": {"node_id": "n1", "addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"]},
        "peers": [
            {"node_id": "n2", "name": "db", "addresses": list(DB.addresses), "tags": ["tag:db"]},
            {"node_id": "n3", "name": "web", "addresses": ["100.64.0.3"]},
        ],
    }
)


@pytest.mark.parametrize(("name", "text"), [("n.toml", TOML), ("n", TOML), ("n.json", JSON)])
def test_files(tmp_path: Path, name: str, text: str) -> None:
    """TOML and JSON say the same, the suffix which it is."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    source = NodeFile(tmp_path / name)
    assert isinstance(source, NodeSource)
    assert source.snapshot() == StaticNodes(SELF, [DB, WEB]).snapshot()
    assert source.snapshot() is source.snapshot()
    assert source.errors == 0


OWN = '[self]\nnode_id = "n1"\naddresses = ["::1"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "expected a readable file: No such file"),
        ("", "self: expected a value, but the key is missing"),
        ("[self", "expected TOML: "),
        (b"# \xff", "expected UTF-8, but byte 2 is not"),
        ("[self]\n", "self.node_id: expected a value, but the key is missing"),
        ("self = 5", "self: expected a table, got a whole number"),
        ('[self]\nnode_id = ""', "self.node_id: expected text that is not empty"),
        (OWN + "id = 5", "self.id: no such key; expected node_id, name, addresses, os, user, tags"),
        (OWN + "[[peer]]", "peer: no such key; expected self, peers"),
        (OWN + "[[peers]]\nnode_id = 5", "peers[0].node_id: expected a string, got 5"),
        (OWN + 'tags = "a"', "self.tags: expected a list, got a string"),
        (OWN + "name = 5", "self.name: expected a string, got a whole number"),
        (
            OWN + '[[peers]]\nnode_id = "a"\naddresses = ["::2", "fd7a::/64"]',
            "peers[0].addresses[1]: expected an IP address, such as 100.64.0.1, got 'fd7a::/64'",
        ),
        (
            OWN + '[[peers]]\nnode_id = "a"\naddresses = ["fe80::1%eth0"]',
            "peers[0].addresses[0]: expected an address without a zone",
        ),
        (
            OWN + '[[peers]]\nnode_id = "n1"',
            "peers[0].node_id: expected a unique id, but 'n1' is also in self.node_id",
        ),
        (
            OWN + '[[peers]]\nnode_id = "a"\naddresses = ["0::1"]',
            "peers[0].addresses[0]: expected a unique address, but '::1' is also in self",
        ),
        (
            OWN + f'[[peers]]\nnode_id = "a"\nname = "{"x" * 9000}"',
            "peers[0]: node 'a': expected at most 8192 bytes",
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_broken_files(tmp_path: Path, text: str | bytes | None, expected: str) -> None:
    """At the start the error names the file, the key and what was expected."""
    path = tmp_path / "nodes.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        NodeFile(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("text", ["{", '{"self":{"node_id":"n1"},}', "[" * 100_000])
def test_broken_json(tmp_path: Path, text: str) -> None:
    """What is no JSON is told as such."""
    (tmp_path / "nodes.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nodes\.json: expected JSON: "):
        NodeFile(tmp_path / "nodes.json")


def test_check_reads_the_file_of_nodes(tmp_path: Path) -> None:
    """A configuration whose file of nodes is broken is not right."""
    config, nodes = tmp_path / "gateway.toml", tmp_path / "nodes.toml"
    config.write_text(
        '[node]\nid = "n1"\n[tun]\nname = "tun0"\naddresses = ["100.64.0.1/32"]\n'
        f'[sock]\nlisten = "[::]:41641"\n[nodes]\nfile = "{nodes}"\n',
        encoding="utf-8",
    )
    nodes.write_text(TOML, encoding="utf-8")
    assert check(argparse.Namespace(config=str(config))) == 0
    nodes.write_text("[self]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nodes\.toml: self\.node_id: expected a value"):
        check(argparse.Namespace(config=str(config)))


def replace(path: Path, text: str) -> None:
    """Put a new file in its place, as a careful writer does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.rename(path)


def test_a_file_that_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is read again; while it is broken or gone what was known stays, told once."""
    path = tmp_path / "nodes.toml"
    path.write_text(TOML, encoding="utf-8")
    source = NodeFile(path)
    before = source.snapshot()
    with caplog.at_level(logging.WARNING, "netlog"):
        replace(path, OWN)
        alone = source.snapshot()
        assert [str(address) for address in alone.by_address] == ["::1"]
        for broken in ("[self", None):
            if broken is None:
                path.unlink()
            else:
                replace(path, broken)
            caplog.clear()
            errors = source.errors
            assert [source.snapshot() for _ in range(3)] == [alone] * 3
            assert source.errors == errors + 1
            assert len(caplog.records) == 1
            assert str(path) in caplog.text
        replace(path, TOML)
        assert source.snapshot() == before
    # in place, and of the same size: the time says so
    path.write_text(TOML.replace('"web"', '"cow"'), encoding="utf-8")
    os.utime(path, ns=(0, 0))
    assert source.snapshot().by_address[IPv4Address("100.64.0.3")].name == "cow"
    assert source.errors == 2
