"""`netlog watch` beside `netlog run`: a gateway that counts itself, and one that is watched."""

import contextlib
import json
from functools import partial
from pathlib import Path

import pytest

from tests.support.gateways import joined
from tests.support.namespace import wait_for
from tests.support.runs import CONFIG, Running, ask, kernel, relays, started, summed
from tests.support.watches import counts, watching

pytestmark = pytest.mark.root

NODES = """
[self]
node_id = "node-1"
addresses = ["100.64.0.1", "fd7a:115c:a1e0::1"]
[[peers]]
node_id = "node-2"
name = "two.example"
addresses = ["100.64.0.2", "fd7a:115c:a1e0::2"]
"""
WATCH = """
type = "watch"
poll_period_s = 0.2
exit_traffic = "log"
[node]
id = "node-1"
[tun]
name = "netlog0"
[[socks]]
port = 41641
[[peers]]
endpoint = "192.0.2.2:41641"
allowed_ips = ["100.64.0.2/32"]
[nodes]
file = "nodes.toml"
[[sinks]]
type = "file"
path = "watched.jsonl"
"""


def test_both_say_the_same(tmp_path: Path) -> None:
    """The watch has every packet and datagram that the gateway has."""
    config = CONFIG.format(me=1, peer=2)
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "watch.toml").write_text(WATCH)
    (folder / "nodes.toml").write_text(NODES)
    with joined() as (left, right), contextlib.ExitStack() as stack:
        watch = stack.enter_context(watching(left, folder, "--config", "watch.toml"))
        wait_for(lambda: counts(watch, "sock 41641"), "the socket is tapped")
        a = stack.enter_context(started(left, tmp_path / "a", config))
        other = CONFIG.format(me=2, peer=1)
        b = stack.enter_context(started(right, tmp_path / "b", other))
        for running in (a, b):
            wait_for(partial(relays, running), "the gateway is up")
        wait_for(lambda: counts(watch, "tun netlog0"), "the interface is tapped")
        ask(a, b)
        counted = kernel(a.counters())
        assert watch.stop() == 0
        for running in (a, b):
            assert running.stop() == 0
    lines = (folder / "watched.jsonl").read_text().splitlines()
    watch.messages = [json.loads(line) for line in lines]
    assert summed(watch.messages, "virtual", "subnet", "exit") == counted
    assert summed(a.messages, "virtual", "subnet", "exit") == counted
    assert endpoints(watch) == endpoints(a)
    assert summed(watch.messages, "physical") == summed(a.messages, "physical")
    assert {message["nodeId"] for message in watch.messages} == {"node-1"}
    assert {node["name"] for message in watch.messages for node in message.get("dstNodes", ())} == {
        "two.example"
    }


def endpoints(running: Running) -> set[tuple[str, str]]:
    """Source and destination of all physical traffic."""
    return {
        (entry["src"], entry["dst"])
        for message in running.messages
        for entry in message.get("physicalTraffic", ())
    }
