"""The JSON Schema of the lines that netlog writes: real lines are valid, wrong ones are not."""

from __future__ import annotations

import copy
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from netlog import Message, Node, RouterConfig, StaticNodes, build_messages, flow_array
from netlog.messages.schema import line_schema
from netlog.model.loss import Loss
from netlog.sinks.remote.entries import with_identity
from netlog.spool import Position, Record
from tests.support import ROOT
from tests.support import flow_strategies as r

if TYPE_CHECKING:
    from collections.abc import Iterator

STORED = json.loads(files("netlog.messages").joinpath("schema.json").read_text())
VALIDATOR = Draft202012Validator(STORED)

SELF = Node("n1", "gw.example", ["100.64.0.1", "fd7a:115c:a1e0::1"], "linux", tags=["tag:gw"])
PEER = Node("n2", "ann.example", ["100.64.0.2"], "macOS", "ann@example.com")
ROUTES = RouterConfig(["100.64.0.1"], ["100.64.0.0/10"], ["10.0.0.0/8"])
TUN = [
    (6, "100.64.0.1:443", "100.64.0.2:555", 1, 2, 3, 4),
    (17, "100.64.0.1:53", "10.0.0.1:53", 5, 6, 7, 8),
    (58, "[fd7a:115c:a1e0::1]:0", "[2001:db8::1]:0", 1, 1, 0, 0),
    (0, "", "", 2, 0, 0, 9),
]
SOCK = [(0, "100.64.0.2:0", "192.0.2.1:51820", 3, 300, 4, 400)]


def is_valid(line: bytes | str) -> bool:
    """Whether a line is as the schema says."""
    return bool(VALIDATOR.is_valid(json.loads(line)))


def messages(tun: list[Any], sock: list[Any], **options: Any) -> list[Message]:  # noqa: ANN401
    """The messages of a period."""
    period = {"start": "2026-11-30T00:00:00.45Z", "end": "2026-11-30T00:00:05Z"}
    return build_messages(
        node_id="n1",
        tun=flow_array(tun),
        sock=flow_array(sock),
        routes=ROUTES,
        **period,  # type: ignore[arg-type]
        **options,
    )


def whole_line() -> dict[str, Any]:
    """A line that has every member there is, but for those of a loss."""
    (message,) = messages(TUN, SOCK, nodes=StaticNodes(SELF, [PEER]), exit_traffic="log")
    line: dict[str, Any] = json.loads(with_identity(record(message.to_json())))
    return line


def record(payload: bytes) -> Record:
    """A record as a spool hands it out."""
    return Record(payload, 7, 1, 1_700_000_001_500_000_000, 1, 1, Loss(), Position())


def test_the_file_is_what_the_types_say() -> None:
    """To make it anew: python -m netlog.messages.schema > netlog/messages/schema.json."""
    Draft202012Validator.check_schema(STORED)
    assert line_schema() == STORED


def test_a_line_with_every_member_is_valid() -> None:
    """No member of the schema is missing from it, so none is there that nobody writes."""
    line = whole_line()
    assert list(VALIDATOR.iter_errors(line)) == []
    definitions = STORED["$defs"]
    entries = [entry for name in line if name.endswith("Traffic") for entry in line[name]]
    nodes = [line["srcNode"], *line["dstNodes"]]
    for name, found in (
        ("Message", [line]),
        ("Entry", entries),
        ("Node", nodes),
        ("Identity", [line["logtail"]]),
    ):
        assert set().union(*found) == set(definitions[name]["properties"]), name


def test_a_loss_is_valid() -> None:
    """In a file, and with the identity that it has over HTTP."""
    loss = Loss(3, 120, 64000).to_json("a")
    assert is_valid(loss)
    assert is_valid(with_identity(record(loss)))


def test_recorded_lines_are_valid() -> None:
    """Those of a live gateway, which the README shows."""
    lines = (ROOT / "docs" / "figures" / "flows.jsonl").read_text().splitlines()
    assert lines
    assert all(map(is_valid, lines))


def test_lines_of_the_pages_are_valid() -> None:
    """Each block of JSON is a line as netlog writes it."""
    lines = [
        line
        for page in (ROOT / "docs").rglob("*.md")
        for block in re.findall(r"^```json\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 1
    assert all(map(is_valid, lines))


@given(r.row_lists, r.row_lists, st.sampled_from(["aggregate", "anonymize", "log"]), st.booleans())
def test_any_message_is_valid(
    tun: list[Any],
    sock: list[Any],
    mode: str,
    known: bool,  # noqa: FBT001 - of hypothesis
) -> None:
    """Whatever was counted, with nodes and without."""
    nodes = StaticNodes(SELF, [PEER]) if known else None
    for message in messages(tun, sock, nodes=nodes, exit_traffic=mode):
        assert list(VALIDATOR.iter_errors(json.loads(message.to_json()))) == []


def wrong_lines() -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines that differ from a right one in one place."""
    changes: dict[str, tuple[tuple[Any, ...], Any]] = {
        "an unknown member": (("colour",), "red"),
        "an unknown member of an entry": (("virtualTraffic", 0, "colour"), "red"),
        "no start": (("start",), None),
        "a zone": (("end",), "2026-11-30T00:00:05+01:00"),
        "trailing zeros": (("end",), "2026-11-30T00:00:05.10Z"),
        "an empty array": (("subnetTraffic",), []),
        "a count of zero": (("virtualTraffic", 0, "txPkts"), 0),
        "a count as text": (("virtualTraffic", 0, "txPkts"), "1"),
        "a count beyond 64 bits": (("virtualTraffic", 0, "txPkts"), 2**64),
        "a protocol by name": (("virtualTraffic", 0, "proto"), "tcp"),
        "an address without a port": (("virtualTraffic", 0, "src"), "100.64.0.1"),
        "an empty address": (("virtualTraffic", 0, "src"), ""),
        "a node without an id": (("srcNode", "nodeId"), None),
        "traffic beside a loss": (("dropped",), {"messages": 1, "packets": 1, "bytes": 1}),
    }
    for name, (path, value) in changes.items():
        line = copy.deepcopy(whole_line())
        place: Any = line
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        yield name, line


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in wrong_lines()])
def test_a_wrong_line_is_not_valid(line: dict[str, Any]) -> None:
    """The schema does not take just anything."""
    assert not VALIDATOR.is_valid(line)


def test_what_is_written_can_be_read() -> None:
    """The types that the schema is made from, and those that messages are read by, agree."""
    line = whole_line()
    text = json.dumps({name: line[name] for name in line if name != "logtail"}).encode()
    assert json.loads(Message.from_json(text).to_json()) == json.loads(text)
