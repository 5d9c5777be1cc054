"""Filter expressions, classes and times: which connections of which messages are wanted."""

import json
from typing import Any

import pytest

from netlog.fmt.expression import MAX_DEPTH, FilterError, parse_filter
from netlog.fmt.record import FlowLog, read_records
from netlog.fmt.select import Selection, parse_moment
from netlog.fmt.split import Value
from netlog.model.times import parse_rfc3339

MESSAGE: dict[str, Any] = {
    "nodeId": "n1",
    "start": "2024-02-29T00:00:00Z",
    "end": "2024-02-29T00:00:05Z",
    "srcNode": {
        "nodeId": "n1",
        "name": "alpha.example.ts.net",
        "addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"],
        "user": "ann@example.com",
    },
    "dstNodes": [
        {"nodeId": "n2", "name": "beta.example.ts.net.", "addresses": ["100.64.0.2"],
         "tags": ["tag:db"]},
    ],
    "virtualTraffic": [
        {"proto": 6, "src": "100.64.0.1:40000", "dst": "100.64.0.2:443", "txBytes": 1},  # 1
        {"proto": 17, "src": "100.64.0.1:53", "dst": "100.64.0.3:5353", "txBytes": 2},  # 2
        {"proto": 58, "src": "[fd7a:115c:a1e0::1]:0", "dst": "[fd7a:115c:a1e0::2]:0",
         "txBytes": 3},  # 3
    ],
    "subnetTraffic": [
        {"proto": "tcp", "src": "10.0.0.7:22", "dst": "100.64.0.2:443", "txBytes": 4},  # 4
    ],
    "exitTraffic": [{"txBytes": 5}, {"proto": 99, "src": "", "dst": None, "txBytes": 6}],  # 5, 6
    "physicalTraffic": [{"src": "100.64.0.2:0", "dst": "[::ffff:192.0.2.2]:41641", "txBytes": 7}],
}  # fmt: skip
ALL = [1, 2, 3, 4, 5, 6, 7]


def record(**members: object) -> FlowLog:
    """The message with other members."""
    (one,) = read_records(Value(0, bytearray(json.dumps(MESSAGE | members).encode())))
    return one


def kept(selection: Selection, of: FlowLog) -> list[int]:
    """The rows that are wanted; each has its own number of bytes."""
    wanted = selection.apply(of)
    rows = wanted.traffic.values() if wanted else ()
    return [entry.tx_bytes for entries in rows for entry in entries]


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("tcp", [1, 4]),
        ("proto TCP", [1, 4]),
        ("proto 6", [1, 4]),
        ("ipv6-icmp", [3]),
        ("tsmp", [6]),
        ("proto 0", [5, 7]),
        ("100.64.0.2", [1, 4, 7]),
        ("addr 100.64.0.2", [1, 4, 7]),
        ("src 100.64.0.2", [7]),
        ("dst addr 100.64.0.2", [1, 4]),
        ("100.64.0.0/31", [1, 2]),
        ("net 10.0.0.0/8", [4]),
        ("fd7a:115c:a1e0::/48", [3]),
        ("dst fd7a:115c:a1e0::2", [3]),
        ("192.0.2.2", [7]),
        ("0.0.0.0/0", [1, 2, 4, 7]),
        ("port 443", [1, 4]),
        ("src port 22", [4]),
        ("dst port 22", []),
        ("port 53-5353", [1, 2, 4]),
        ("node n2", [1, 4, 7]),
        ("node beta", [1, 4, 7]),
        ("node Beta.example.ts.net", [1, 4, 7]),
        ('node "tag:db"', [1, 4, 7]),
        ("dst node n2", [1, 4]),
        ("node alpha", ALL),
        ("src node ann@example.com", [1, 2, 3]),
        ("node nobody", []),
        ("class exit", [5, 6]),
        ("tcp or udp and port 53", [1, 2, 4]),
        ("(tcp or udp) and port 53", [2]),
        ("not tcp", [2, 3, 5, 6, 7]),
        ("not tcp and not class exit", [2, 3, 7]),
        ("not (tcp or class exit)", [2, 3, 7]),
        ("not not tcp", [1, 4]),
        ("TCP AND(NOT src 10.0.0.7)", [1]),
    ],
)
def test_expression(expression: str, rows: list[int]) -> None:
    """An expression keeps these rows, in the message's order."""
    assert kept(Selection(predicate=parse_filter(expression)), record()) == rows


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "column 1: expected an address, a prefix, a protocol, or one of addr, class"),
        ("tcp udp", "column 5: expected and, or, or the end, got 'udp'"),
        ("tcp and", "column 8: expected an address, a prefix, a protocol, or one of"),
        ("(tcp", "column 5: expected and, or, or ), got the end"),
        ("tcp)", "column 4: expected and, or, or the end, got ')'"),
        ("port", "column 5: expected a port or a range"),
        ("port 65536", "column 6: expected a port or a range"),
        ("port 9-1", "column 6: expected a port or a range"),
        ("port )", "column 6: expected a port or a range"),
        ("src tcp", "column 5: expected an address, a prefix, or one of addr, net, port, node"),
        ("net 10.0.0.1/8", "column 5: expected a prefix"),
        ("addr 10.0.0.0/8", "column 6: expected an address"),
        ("proto quic", "column 7: expected a protocol such as"),
        ("class private", "column 7: expected one of virtual, subnet, exit, physical"),
        ('node ""', "column 7: expected a node's id"),
        ('tcp or  "beta', "column 9: expected a closing quote"),
        ("(" * (MAX_DEPTH + 1), "expected at most 100 nested"),
        ("not " * 10000 + "tcp", "expected at most 100 nested"),
    ],
)
def test_wrong_expression(expression: str, message: str) -> None:
    """The error says where, what was expected, and what was there."""
    with pytest.raises(FilterError) as caught:
        parse_filter(expression)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "rows"),
    [(("virtual",), [1, 2, 3]), (("exit", "physical"), [5, 6, 7]), (("subnet",), [4])],
    ids=str,
)
def test_classes(classes: tuple[str, ...], rows: list[int]) -> None:
    """Only the classes asked for are kept."""
    assert kept(Selection(classes), record()) == rows


def test_a_message_without_connections() -> None:
    """It is shown if nobody asked for connections."""
    empty = record(virtualTraffic=[], subnetTraffic=None, exitTraffic=[], physicalTraffic=[])
    assert Selection().apply(empty) is empty
    assert Selection(("virtual",)).apply(empty) is None
    assert Selection(predicate=parse_filter("tcp")).apply(empty) is None


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        ("2024-02-29T00:00:05Z", None, True),
        ("2024-02-29T00:00:05.000000001Z", None, False),
        (None, "2024-02-29T00:00:00Z", False),
        (None, "2024-02-29T00:00:00.000000001Z", True),
        ("2024-02-29T01:00:03+01:00", "2024-02-29T00:00:04Z", True),
    ],
)
def test_times(since: str | None, until: str | None, wanted: bool) -> None:  # noqa: FBT001
    """A message is wanted if its period, both ends included, reaches into [since, until)."""
    limits = [None if text is None else parse_rfc3339(text) for text in (since, until)]
    selection = Selection(since_ns=limits[0], until_ns=limits[1])
    assert (selection.apply(record()) is not None) is wanted
    assert selection.apply(record(start="", end="")) is None


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259200), ("1w", 604800)]
)
def test_how_long_ago(text: str, ago_s: int) -> None:
    """Relative times count back from now."""
    assert parse_moment(text, lambda: 10**18) == 10**18 - ago_s * 10**9
    for wrong in ("", "10", "m", "-1h", "1.5h", "10 m", "1y", "2024-02-29"):
        with pytest.raises(ValueError, match="how long ago"):
            parse_moment(wrong)
