"""The messages of the system that netlog is compatible with, case by case."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from netlog import Message, RouterConfig, build_messages, flow_array
from tests.support import ROOT

if TYPE_CHECKING:
    from netlog.model.flows import FlowArray

CASES = [
    json.loads(line)
    for line in (ROOT / "tests" / "vectors" / "seed-messages.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


def rows_of(connections: list[dict[str, Any]] | None) -> FlowArray | None:
    """What an observation point extracted."""
    if connections is None:
        return None
    counters = ("txPkts", "txBytes", "rxPkts", "rxBytes")
    return flow_array(
        (entry["proto"], entry["src"], entry["dst"], *(entry.get(name, 0) for name in counters))
        for entry in connections
    )


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Without empty members and without the order of entries."""
    result = {}
    for name, value in message.items():
        if isinstance(value, list):
            entries = [{k: v for k, v in entry.items() if v} for entry in value]
            result[name] = sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))
        elif value:
            result[name] = value
    return result


def test_all_cases_are_here() -> None:
    """The file is whole: 120 cases."""
    assert len(CASES) == 120


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_seed_message(case: dict[str, Any]) -> None:
    """The message of a period is the seed's, to the nanosecond and the byte."""
    expected = case["Expect"]
    messages = build_messages(
        node_id="n1",
        start=expected["start"],
        end=expected["end"],
        tun=rows_of(case["Tun"]),
        sock=rows_of(case["Sock"]),
        routes=RouterConfig(case["LocalAddrs"], case["Routes"], case["SubnetRoutes"]),
    )
    assert len(messages) == 1
    written = json.loads(messages[0].to_json())
    assert comparable(written) == {"nodeId": "n1", **comparable(expected)}
    # and what the seed wrote is read: empty addresses, no node id
    read = json.loads(Message.from_json(json.dumps(expected)).to_json())
    assert comparable(read) == comparable(expected)
