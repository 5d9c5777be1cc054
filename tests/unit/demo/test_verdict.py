"""The demo's verdict and tables: what it compares, and what it must not overlook."""

import copy
import io
import json
from collections import Counter
from typing import Any

import pytest
from rich.console import RenderableType

from netlog.demo.reconcile import COUNTS, Counts, MessageSums, Verdict, add_message, reconcile
from netlog.demo.table import ROWS_PER_CLASS, message_lines, verdict_lines
from netlog.demo.terminal import message_table, verdict_table
from netlog.demo.traffic import TrafficCounters
from netlog.display.console import open_console
from netlog.display.units import binary_size


def entry(tx: int, rx: int) -> dict[str, Any]:
    """An entry of tx and rx packets, 100 bytes each."""
    return {"proto": 6, "txPkts": tx, "txBytes": 100 * tx, "rxPkts": rx, "rxBytes": 100 * rx}


def messages() -> list[dict[str, Any]]:
    """What two nodes report that exchanged 6 packets one way and 9 the other."""
    period = {"start": "2024-02-29T00:00:00Z", "end": "2024-02-29T00:00:01.5Z"}
    return [
        {
            "nodeId": "a",
            **period,
            "virtualTraffic": [entry(1, 2), entry(1, 1)],
            "subnetTraffic": [entry(2, 3)],
            "exitTraffic": [entry(2, 3)],
            "physicalTraffic": [entry(6, 9)],
        },
        {"nodeId": "b", **period, "virtualTraffic": [entry(3, 2)]},
        {
            "nodeId": "b",
            **period,
            "subnetTraffic": [entry(3, 2)],
            "exitTraffic": [entry(3, 2)],
            "physicalTraffic": [entry(9, 6)],
        },
    ]


def counts(tx: int, rx: int, frame_bytes: int = 0) -> Counts:
    """The kernel's counters of tx and rx packets of 100 bytes."""
    size = 100 + frame_bytes
    return {"tx_packets": tx, "tx_bytes": size * tx, "rx_packets": rx, "rx_bytes": size * rx}


def verdict(
    reported: list[dict[str, Any]],
    tuns: dict[str, Counts] | None = None,
    links: dict[str, Counts] | None = None,
) -> Verdict:
    """Reconcile messages with kernel counters; by default those that fit messages()."""
    totals: dict[str, MessageSums] = {}
    for message in reported:
        add_message(totals, message)
    tuns = tuns or {"a": counts(6, 9), "b": counts(9, 6)}
    links = links or {"a": counts(6, 9, 42), "b": counts(9, 6, 42)}
    return reconcile(totals, tuns, links)


def test_equal_sums_reconcile() -> None:
    """Messages that add up to the kernel's counters, with every class of traffic, are right."""
    found = verdict(messages())
    assert found.reconciled
    assert found.tun == found.kernel == {"a": counts(6, 9), "b": counts(9, 6)}
    assert found.sock == found.underlay == found.tun
    assert {node: totals.messages for node, totals in found.totals.items()} == {"a": 1, "b": 2}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize("by", [1, -1])
def test_one_packet_or_byte_off_does_not_reconcile(count: str, node: str, by: int) -> None:
    """Whichever number of the kernel's differs by one, at the TUN or on the link."""
    tuns = {"a": counts(6, 9), "b": counts(9, 6)}
    tuns[node][count] += by
    found = verdict(messages(), tuns=tuns)
    assert not found.reconciled
    assert [(line.node, line.point, line.count) for line in found.lines if not line.agrees] == [
        (node, "tun", count)
    ]
    links = {"a": counts(6, 9, 42), "b": counts(9, 6, 42)}
    links[node][count] += by
    assert not verdict(messages(), links=links).reconciled


def test_a_missing_message_does_not_reconcile() -> None:
    """Each message counts."""
    for missing in range(3):
        rest = [message for i, message in enumerate(messages()) if i != missing]
        assert not verdict(rest).reconciled


def test_a_datagram_lost_on_the_way_does_not_reconcile() -> None:
    """What one socket sent the other must have received, even if link and messages agree."""
    reported = messages()
    reported[2]["physicalTraffic"] = [entry(9, 5)]
    links = {"a": counts(6, 9, 42), "b": counts(9, 5, 42)}
    found = verdict(reported, links=links)
    assert all(line.agrees for line in found.lines)
    assert not found.reconciled


@pytest.mark.parametrize("kind", ["virtual", "subnet", "exit"])
def test_a_class_without_traffic_does_not_reconcile(kind: str) -> None:
    """A demo that shows no traffic of a class has not shown what it is for."""
    reported = messages()
    for message in reported:
        for moved in message.pop(f"{kind}Traffic", []):
            other = "virtualTraffic" if kind != "virtual" else "subnetTraffic"
            message.setdefault(other, []).append(moved)
    found = verdict(reported)
    assert all(line.agrees for line in found.lines)
    assert not found.reconciled


def test_silence_does_not_reconcile() -> None:
    """Nothing reported and nothing counted is no proof."""
    nothing = {"a": counts(0, 0), "b": counts(0, 0)}
    assert not verdict([], tuns=nothing, links=copy.deepcopy(nothing)).reconciled


def test_the_verdict_as_json_has_both_sides() -> None:
    """A program can check it again."""
    found = json.loads(json.dumps(verdict(messages()).as_json()))
    assert found["reconciled"] is True
    assert found["tun"] == found["kernel"]
    assert found["sock"] == found["underlay"]
    assert found["classes"]["b"]["virtual"] == counts(3, 2)


def test_the_verdict_as_a_table_marks_what_differs() -> None:
    """A line a number, and one at the end that says how it came out."""
    lines = list(verdict_lines(verdict(messages())))
    assert sum(line.endswith("equal") for line in lines) == 16
    assert lines[-1] == "reconciled: 3 messages agree with the kernel exactly"
    wrong = {"a": counts(6, 9), "b": counts(9, 7)}
    lines = list(verdict_lines(verdict(messages(), tuns=wrong)))
    assert sum("DIFFERENT" in line for line in lines) == 2
    assert lines[-1].startswith("NOT reconciled")


def test_a_message_is_shown_with_its_busiest_connections() -> None:
    """Few connections are shown all; of many the busiest, and the others as one sum."""
    message = messages()[0]
    message["virtualTraffic"] = [
        entry(i, i) | {"src": f"100.64.0.1:{i}", "dst": "[fd7a:115c:a1e0::2]:0"}
        for i in range(1, ROWS_PER_CLASS + 4)
    ]
    lines = list(message_lines(message))
    assert lines[0] == "a: 00:00:00.000 to 00:00:01.500 UTC"
    virtual = [line for line in lines if " virtual " in line]
    assert len(virtual) == ROWS_PER_CLASS + 1
    assert f"100.64.0.1:{ROWS_PER_CLASS + 3} " in virtual[0]
    assert "[fd7a:115c:a1e0::2] " in virtual[0]
    assert "(3 more)" in virtual[-1]
    assert "6      600 B" in virtual[-1]
    assert [" ".join(line.split()) for line in lines if " exit " in line] == [
        "a exit tcp - - 2 200 B 3 300 B"
    ]


def shown(renderable: RenderableType, width: int = 120) -> list[str]:
    """What a terminal without colours shows."""
    text = io.StringIO()
    console = open_console(text)
    console.width = width
    console.print(renderable)
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_the_same_connections(width: int) -> None:
    """As the plain text has them; a class is named once, and an address is no markup."""
    message = messages()[0]
    message["virtualTraffic"] = [
        entry(i, i) | {"src": f"100.64.0.1:{i}", "dst": "[fd7a:115c:a1e0::2]:65535"}
        for i in range(1, ROWS_PER_CLASS + 4)
    ]
    lines = shown(message_table(message, width), width)
    assert lines[0] == "a: 00:00:00.000 to 00:00:01.500 UTC"
    text = "\n".join(lines)
    for kind in ("virtual", "subnet", "exit", "physical"):
        assert text.count(kind) == 1
    assert max(map(len, lines)) <= width
    if width == 120:
        assert text.count("[fd7a:115c:a1e0::2]:65535") == ROWS_PER_CLASS
        plain = [line.split()[-4:] for line in message_lines(message)][1:]
        assert [line.split()[-4:] for line in lines[2:] if line] == plain


def test_a_terminal_shows_what_differs() -> None:
    """The kernel's number stands below netlog's, and the row says how it came out."""
    traffic = TrafficCounters(Counter(tcp=1200, udp=3), Counter(tcp=1))
    lines = shown(verdict_table(verdict(messages()), traffic))
    assert sum(line.endswith("  equal") for line in lines) == 4
    assert "traffic: 1,200 tcp, 3 udp exchanges; 1 without an answer" in lines
    assert lines[-1] == "reconciled: 3 messages agree with the kernel exactly"
    wrong = {"a": counts(6, 9), "b": counts(9, 7000)}
    lines = shown(verdict_table(verdict(messages(), tuns=wrong), traffic))
    (at,) = (i for i, line in enumerate(lines) if line.endswith("DIFFERENT"))
    assert lines[at].split() == ["the", "kernel", "9", "900", "7,000", "700,000", "DIFFERENT"]
    assert lines[at - 1].split() == ["b", "tun", "netlog", "9", "900", "6", "600"]
    assert lines[-1].startswith("NOT reconciled")


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 63, "8192.0 PiB"),
    ],
)
def test_sizes_have_binary_units(n_bytes: int, text: str) -> None:
    """1024 bytes are a KiB, and what has no unit has the largest."""
    assert binary_size(n_bytes) == text
