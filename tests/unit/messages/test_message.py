"""Messages: what they show, how they are cut, and their JSON both ways."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog import Message, Node, RouterConfig, build_messages, flow_array, iter_messages
from netlog.messages.build import MAX_BYTES, smallest_max_bytes
from netlog.model.loss import Loss
from tests.support import flow_strategies as r

if TYPE_CHECKING:
    from netlog.model.flows import FlowArray

ROUTES = RouterConfig(
    ["100.64.0.1"], ["100.64.0.0/10", "fd7a:115c:a1e0::/48"], ["10.0.0.0/8", "8000::/1"]
)
VIRTUAL = (6, "100.64.0.1:443", "100.64.0.2:555", 1, 2, 3, 4)
SUBNET = (17, "100.64.0.1:53", "10.0.0.1:53", 5, 6, 7, 8)
EXIT = (1, "100.64.0.1:0", "8.8.8.8:0", 10, 20, 30, 40)
EXIT_6 = (58, "[fd7a:115c:a1e0::1]:0", "[2001:db8::1]:0", 1, 1, 1, 1)
UNATTRIBUTED = (0, "", "", 2, 0, 0, 9)
PHYSICAL = (0, "100.64.0.2:0", "192.0.2.1:51820", 3, 300, 4, 400)
NOTHING = (0, "", "", 0, 0, 0, 0)

START, END = "2022-10-01T00:00:00.45Z", "2022-10-01T00:00:05.449999999Z"
ARRAYS = ("virtualTraffic", "subnetTraffic", "exitTraffic", "physicalTraffic")


def build(tun: list[Any] | None, sock: list[Any] | None = None, **options: Any) -> list[Message]:  # noqa: ANN401
    """The messages of a period, without changing what they are made from."""
    flows = [None if rows is None else flow_array(rows) for rows in (tun, sock)]
    before = [None if array is None else array.tobytes() for array in flows]
    arguments = {"node_id": "n1", "start": START, "end": END, "routes": ROUTES, **options}
    messages = build_messages(tun=flows[0], sock=flows[1], **arguments)
    assert [None if array is None else array.tobytes() for array in flows] == before
    return messages


def arrays_of(message: Message) -> tuple[FlowArray, ...]:
    """The four arrays in their order."""
    return (
        message.virtual_traffic,
        message.subnet_traffic,
        message.exit_traffic,
        message.physical_traffic,
    )


def test_text() -> None:
    """A message is written as DESIGN has it: members, order, no white space, zeros left out."""
    (message,) = build([SUBNET, EXIT, UNATTRIBUTED, VIRTUAL], [PHYSICAL])
    assert message.to_json() == (
        b'{"nodeId":"n1","start":"2022-10-01T00:00:00.45Z","end":"2022-10-01T00:00:05.449999999Z"'
        b',"virtualTraffic":[{"proto":6,"src":"100.64.0.1:443","dst":"100.64.0.2:555","txPkts":1,'
        b'"txBytes":2,"rxPkts":3,"rxBytes":4}]'
        b',"subnetTraffic":[{"proto":17,"src":"100.64.0.1:53","dst":"10.0.0.1:53","txPkts":5,'
        b'"txBytes":6,"rxPkts":7,"rxBytes":8}]'
        b',"exitTraffic":[{"txPkts":12,"txBytes":20,"rxPkts":30,"rxBytes":49}]'
        b',"physicalTraffic":[{"src":"100.64.0.2:0","dst":"192.0.2.1:51820","txPkts":3,'
        b'"txBytes":300,"rxPkts":4,"rxBytes":400}]}'
    )


def test_members() -> None:
    """A message has its period and its arrays, read-only."""
    (message,) = build([VIRTUAL, EXIT], [PHYSICAL])
    assert message.node_id == "n1"
    assert (message.start_ns, message.end_ns) == (1664582400450000000, 1664582405449999999)
    assert [len(array) for array in arrays_of(message)] == [1, 0, 1, 1]
    assert message.virtual_traffic.tobytes() == flow_array([VIRTUAL]).tobytes()
    assert message.exit_traffic.tobytes() == flow_array([(0, "", "", 10, 20, 30, 40)]).tobytes()
    for array in arrays_of(message):
        with pytest.raises(ValueError, match="read-only"):
            array["proto"] = 1
    with pytest.raises(AttributeError):
        message.node_id = "n2"  # type: ignore[misc]
    assert "1 virtual, 1 exit, 1 physical" in repr(message)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("aggregate", [(0, "", "", 13, 21, 31, 50)]),
        ("log", [UNATTRIBUTED, EXIT, EXIT_6]),
        ("drop", []),
    ],
)
def test_exit_modes(mode: str, expected: list[Any]) -> None:
    """Exit traffic is one entry without addresses, all entries, or none; the rest is the same."""
    (message,) = build([EXIT_6, EXIT, UNATTRIBUTED, VIRTUAL], [PHYSICAL], exit_traffic=mode)
    assert message.exit_traffic.tobytes() == flow_array(expected).tobytes()
    assert message.virtual_traffic.tobytes() == flow_array([VIRTUAL]).tobytes()
    assert message.physical_traffic.tobytes() == flow_array([PHYSICAL]).tobytes()


def test_aggregate_saturates() -> None:
    """The sum of exit traffic stays at 2^64-1 rather than to wrap."""
    huge = (6, "1.1.1.1:1", "8.8.8.8:2", r.U64, 1, 0, 2)
    (message,) = build([huge, EXIT])
    assert message.exit_traffic.tobytes() == flow_array([(0, "", "", r.U64, 21, 30, 42)]).tobytes()


def test_unattributed_datagrams() -> None:
    """What a sock could not attribute is a physical entry without addresses."""
    (message,) = build(None, [PHYSICAL, UNATTRIBUTED])
    assert message.physical_traffic.tobytes() == flow_array([UNATTRIBUTED, PHYSICAL]).tobytes()


@pytest.mark.parametrize(
    ("tun", "sock", "options"),
    [
        (None, None, {}),
        ([], [], {}),
        ([NOTHING], [NOTHING], {"exit_traffic": "log"}),
        ([(6, *VIRTUAL[1:3], 0, 0, 0, 0)], [], {}),
        ([EXIT, UNATTRIBUTED], None, {"exit_traffic": "drop"}),
        ([EXIT, (6, *VIRTUAL[1:3], 0, 0, 0, 0)], None, {"exit_traffic": "drop"}),
    ],
    ids=["none", "empty", "nothing", "zero", "dropped", "dropped and zero"],
)
def test_no_traffic_no_message(tun: Any, sock: Any, options: Any) -> None:  # noqa: ANN401
    """Where nothing was counted, or nothing of it is shown, there is no message."""
    assert build(tun, sock, **options) == []


def test_rows_that_say_nothing_are_left_out() -> None:
    """An all-zero row without addresses is no entry, in any mode and array."""
    for mode in ("log", "aggregate"):
        (message,) = build([NOTHING, VIRTUAL, NOTHING], [NOTHING, PHYSICAL], exit_traffic=mode)
        assert b"{}" not in message.to_json()
        assert [len(array) for array in arrays_of(message)] == [1, 0, 0, 1]


def test_zero_counts_of_a_connection_stay() -> None:
    """A connection without counts is an entry beside others, as in the seed's messages."""
    idle = (6, "100.64.0.1:1", "100.64.0.2:2", 0, 0, 0, 0)
    (message,) = build([VIRTUAL, idle])
    assert message.virtual_traffic.tobytes() == flow_array([idle, VIRTUAL]).tobytes()


def test_several_configurations() -> None:
    """A connection is classified with all routes of its period."""
    before, after = RouterConfig(routes=["100.64.0.1"]), RouterConfig(routes=["100.64.0.2"])
    assert len(build([VIRTUAL], routes=before)[0].virtual_traffic) == 0
    assert len(build([VIRTUAL], routes=iter([before, after]))[0].virtual_traffic) == 1


@pytest.mark.parametrize(
    "moment", [1664582400450000000, START, datetime(2022, 10, 1, 0, 0, 0, 450000, tzinfo=UTC)]
)
def test_times(moment: Any) -> None:  # noqa: ANN401 - any form of a moment
    """A moment may be nanoseconds, text or a datetime; end may equal start."""
    (message,) = build([VIRTUAL], start=moment, end=moment)
    assert message.start_ns == message.end_ns == 1664582400450000000


@pytest.mark.parametrize("node_id", ["", 'a"b\\c\n\x00\x1f', "<&>\u2028", "n\u00f6de \U0001f600"])
def test_node_id_is_escaped(node_id: str) -> None:
    """Any text is a node id, and comes back."""
    (message,) = build([VIRTUAL], node_id=node_id)
    assert json.loads(message.to_json())["nodeId"] == node_id
    assert Message.from_json(message.to_json()).node_id == node_id


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"exit_traffic": "anonymise"}, ValueError),
        ({"exit_traffic": ""}, ValueError),
        ({"node_id": 5}, TypeError),
        ({"start": "yesterday"}, ValueError),
        ({"start": datetime(2022, 10, 1)}, ValueError),  # noqa: DTZ001 - no zone
        ({"start": None}, TypeError),
        ({"start": END, "end": START}, ValueError),
        ({"routes": ["10.0.0.0/8"]}, TypeError),
        ({"max_bytes": 0}, ValueError),
        ({"tun": [VIRTUAL]}, TypeError),
        ({"sock": np.zeros(3)}, TypeError),
    ],
    ids=repr,
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    """A wrong argument raises at once, before anything is made."""
    arguments = {"node_id": "n", "start": START, "end": END, "routes": ROUTES}
    with pytest.raises(error):
        iter_messages(**{**arguments, "tun": None, "sock": None, **options})


def test_split_is_as_full_as_can_be() -> None:
    """What does not fit comes in further messages, and only what does not fit."""
    tun = [(6, f"100.64.0.1:{port}", "100.64.0.2:1", port, 0, 0, 0) for port in range(1, 300)]
    limit = 4096
    messages = build(tun, [PHYSICAL], max_bytes=limit)
    assert len(messages) > 2
    for message, following in itertools.pairwise(messages):
        text = message.to_json()
        assert len(text) <= limit
        first = next(array for array in arrays_of(following) if len(array))[0]
        entry = json.dumps(r.entry_of(first), separators=(",", ":"))
        assert len(text) + len(",") + len(entry) > limit
    ports = [int(row["src_port"]) for message in messages for row in message.virtual_traffic]
    assert ports == list(range(1, 300))


def test_default_limit() -> None:
    """Unless told otherwise a message has at most 256 KiB."""
    tun = [
        (6, f"100.64.{port >> 8}.1:{port}", f"100.64.0.2:{port}", port, r.U64, 1, 1)
        for port in range(1, 5000)
    ]
    messages = build(tun)
    sizes = [len(message.to_json()) for message in messages]
    assert MAX_BYTES == 262144
    assert len(sizes) > 1
    assert MAX_BYTES - 250 < max(sizes) <= MAX_BYTES
    assert sum(len(message.virtual_traffic) for message in messages) == len(tun)


def test_smallest_max_bytes() -> None:
    """The longest entry fits into as many bytes as that says, and not into one less."""
    node_id = 'a long "name"'
    longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
    sock = [(255, longest, longest, *[r.U64] * 4)] * 2
    end = "9999-12-31T23:59:59.999999999Z"
    least = smallest_max_bytes(node_id)
    options = {"node_id": node_id, "start": end, "end": end}
    assert [len(m.to_json()) for m in build([], sock, **options, max_bytes=least)] == [least] * 2
    with pytest.raises(ValueError, match="does not fit"):
        build([], sock, **options, max_bytes=least - 1)


@pytest.mark.parametrize("max_bytes", [1, 87, 100, 120])
def test_too_small(max_bytes: int) -> None:
    """A limit that no entry fits into raises ValueError and makes no message without entries."""
    with pytest.raises(ValueError, match="does not fit"):
        build([VIRTUAL], max_bytes=max_bytes)


@given(
    r.row_lists, r.row_lists, st.sampled_from(["aggregate", "log", "drop"]), st.integers(480, 3000)
)
def test_split_sums_to_the_whole(tun: Any, sock: Any, mode: str, max_bytes: int) -> None:  # noqa: ANN401
    """Split or not, the same entries come in the same order, and every message is within bounds."""
    whole = build(tun, sock, exit_traffic=mode)
    parts = build(tun, sock, exit_traffic=mode, max_bytes=max_bytes)
    assert len(whole) <= 1
    assert bool(whole) == bool(parts)
    for part in parts:
        assert len(part.to_json()) <= max_bytes
        assert any(len(array) for array in arrays_of(part))
        assert (part.start_ns, part.end_ns) == (whole[0].start_ns, whole[0].end_ns)
    for kind, name in enumerate(ARRAYS):
        joined = b"".join(arrays_of(part)[kind].tobytes() for part in parts)
        assert joined == b"".join(arrays_of(message)[kind].tobytes() for message in whole), name


@given(r.row_lists, r.row_lists)
def test_nothing_is_lost(tun: Any, sock: Any) -> None:  # noqa: ANN401 - row lists
    """All counts are in the messages, each class sorted, each entry as json would write it."""
    for message in build(tun, sock, exit_traffic="log"):
        assert r.totals(*arrays_of(message)) == r.totals(flow_array(tun + sock))
        written = json.loads(message.to_json())
        for name, array in zip(ARRAYS, arrays_of(message), strict=True):
            assert written.get(name, []) == [r.entry_of(row) for row in array]
            keys = [r.sort_key(row) for row in array]
            assert keys == sorted(keys)


@given(r.row_lists, r.row_lists, st.text(), st.integers(0, 10**18))
def test_round_trip(tun: Any, sock: Any, node_id: str, start_ns: int) -> None:  # noqa: ANN401
    """from_json reads what to_json wrote, and writes it again."""
    message = Message(
        node_id,
        start_ns,
        start_ns + 5,
        virtual_traffic=flow_array(tun),
        exit_traffic=flow_array(sock),
        physical_traffic=flow_array([PHYSICAL]),
    )
    read = Message.from_json(message.to_json())
    assert read == message
    assert hash(read) == hash(message)
    assert read.to_json() == message.to_json()
    for array, other in zip(arrays_of(read), arrays_of(message), strict=True):
        assert array.tobytes() == other.tobytes()


def test_made_by_hand() -> None:
    """A message copies its rows, shows them in their order, and may be empty."""
    rows = flow_array([VIRTUAL, EXIT])
    message = Message("n", 0, 1, subnet_traffic=rows)
    rows["proto"] = 99
    assert list(message.subnet_traffic["proto"]) == [6, 1]
    assert Message("n", 0, 1).to_json() == (
        b'{"nodeId":"n","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:00.000000001Z"}'
    )
    assert Message("n", 0, 1) != Message("n", 0, 2)
    assert Message("n", 0, 1) != "n"
    with pytest.raises(ValueError, match="before the start"):
        Message("n", 1, 0)
    with pytest.raises(TypeError, match="node_id"):
        Message(5, 0, 1)  # type: ignore[arg-type]


def test_reads_other_writers() -> None:
    """Absent and "" addresses, null arrays, white space and unknown members are fine."""
    message = Message.from_json(
        ' {"start": "2022-10-01T02:00:00+02:00", "end": "2022-10-01T00:00:05Z",'
        '"srcNode": {"x": []},'
        '"exitTraffic": [{"proto": 0, "src": "", "dst": "", "txPkts": 7, "y": 1}, {"rxPkts": 1}],'
        '"physicalTraffic": null, "nodeId": "n\\u0031", "virtualTraffic": []}\n'
    )
    assert message.node_id == "n1"
    expected = flow_array([(0, "", "", 7, 0, 0, 0), (0, "", "", 0, 0, 1, 0)])
    assert message.exit_traffic.tobytes() == expected.tobytes()
    assert [len(array) for array in arrays_of(message)] == [0, 0, 2, 0]
    assert Message.from_json(bytearray(message.to_json())) == message


def test_nodes_made_by_hand() -> None:
    """A message shows the nodes that it is given, in their order, and reads them back."""
    own, other = Node("n", "me", ["100.64.0.1"]), Node("b", tags=["t"])
    message = Message("n", 0, 1, src_node=own, dst_nodes=[other, own])
    assert message.to_json() == (
        b'{"nodeId":"n","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:00.000000001Z"'
        b',"srcNode":{"nodeId":"n","name":"me","addresses":["100.64.0.1"]}'
        b',"dstNodes":[{"nodeId":"b","tags":["t"]},{"nodeId":"n","name":"me",'
        b'"addresses":["100.64.0.1"]}]}'
    )
    assert (message.src_node, message.dst_nodes) == (own, (other, own))
    read = Message.from_json(message.to_json())
    assert (read, read.src_node, read.dst_nodes) == (message, own, (other, own))
    assert message != Message("n", 0, 1, src_node=own)
    assert (Message("n", 0, 1).src_node, Message("n", 0, 1).dst_nodes) == (None, ())
    wrongs: list[Any] = [{"src_node": "n"}, {"dst_nodes": ["n"]}]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="expected a Node"):
            Message("n", 0, 1, **wrong)


def test_reads_nodes_of_other_writers() -> None:
    """Nulls, unknown members, a user beside tags, and a node without an id do no harm."""
    message = Message.from_json(
        '{"srcNode":{"nodeId":"a","name":"x.","user":"u","tags":["b","a"],"addresses":null,"y":[]},'
        '"dstNodes":[{"name":"z"},{"nodeId":"c","tags":null,"os":null,"user":null}],' + WINDOW + "}"
    )
    assert message.src_node == Node("a", "x", tags=["a", "b"])
    assert message.dst_nodes == (Node("c"),)
    assert Message.from_json('{"dstNodes":null,"srcNode":null,' + WINDOW + "}").dst_nodes == ()


@pytest.mark.parametrize(
    ("proto", "number"),
    [('"6"', 6), ('"TCP"', 6), ('"ipv4"', 4), ('""', 0), ("17", 17), ('"255"', 255)],
)
def test_protocols_that_are_text(proto: str, number: int) -> None:
    """A protocol may come as a number or as a name; it is written as a number."""
    message = Message.from_json(
        '{"exitTraffic":[{"proto":' + proto + ',"txPkts":1}],' + WINDOW + "}"
    )
    assert list(message.exit_traffic["proto"]) == [number]
    written = {"proto": number, "txPkts": 1} if number else {"txPkts": 1}
    assert json.loads(message.to_json())["exitTraffic"] == [written]


@pytest.mark.parametrize("node_id", ["\ud800", "a\udcffb", "\udfff\ud800"])
def test_node_id_that_is_no_unicode(node_id: str) -> None:
    """What UTF-8 cannot say becomes U+FFFD, here as in a loss."""
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in node_id)
    (message,) = build([VIRTUAL], node_id=node_id)
    assert message.node_id == Message(node_id, 0, 1).node_id == expected
    assert json.loads(message.to_json())["nodeId"] == expected
    assert json.loads(Loss(1, 2, 3).to_json(node_id))["nodeId"] == expected


WINDOW = '"start":"2022-10-01T00:00:00Z","end":"2022-10-01T00:00:05Z"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "{",
        "{" + WINDOW,
        "{" + WINDOW + "} x",
        '{"start":"2022-10-01T00:00:00Z"}',
        '{"start":5,"end":6}',
        '{"start":"2022-10-01","end":"2022-10-01"}',
        '{"nodeId":5,' + WINDOW + "}",
        '{"exitTraffic":{},' + WINDOW + "}",
        '{"exitTraffic":[5],' + WINDOW + "}",
        '{"exitTraffic":[null],' + WINDOW + "}",
        '{"exitTraffic":[{"proto":256}],' + WINDOW + "}",
        '{"exitTraffic":[{"proto":-1}],' + WINDOW + "}",
        '{"exitTraffic":[{"proto":"256"}],' + WINDOW + "}",
        '{"exitTraffic":[{"proto":"quic"}],' + WINDOW + "}",
        '{"exitTraffic":[{"proto":1.5}],' + WINDOW + "}",
        '{"srcNode":[],' + WINDOW + "}",
        '{"srcNode":{"nodeId":5},' + WINDOW + "}",
        '{"srcNode":{"nodeId":"a","addresses":["x"]},' + WINDOW + "}",
        '{"dstNodes":{"nodeId":"a"},' + WINDOW + "}",
        '{"dstNodes":[{"nodeId":"a","name":"' + 9000 * "x" + '"}],' + WINDOW + "}",
        '{"exitTraffic":[{"txPkts":-1}],' + WINDOW + "}",
        '{"exitTraffic":[{"txPkts":18446744073709551616}],' + WINDOW + "}",
        '{"exitTraffic":[{"txPkts":1.5}],' + WINDOW + "}",
        '{"exitTraffic":[{"txPkts":"1"}],' + WINDOW + "}",
        '{"exitTraffic":[{"src":5}],' + WINDOW + "}",
        '{"exitTraffic":[{"src":"1.2.3.4"}],' + WINDOW + "}",
        '{"x":' + "[" * 100_000 + "]" * 100_000 + "," + WINDOW + "}",
    ],
    ids=lambda text: text[:60],
)
def test_invalid_json(text: str) -> None:
    """What is no message raises ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        Message.from_json(text)


@pytest.mark.parametrize("data", [b"\xff", b'{"nodeId":"\xff",' + WINDOW.encode() + b"}"])
def test_invalid_utf8(data: bytes) -> None:
    """What is no UTF-8 raises ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        Message.from_json(data)


def test_bad_entry_is_named() -> None:
    """The error names the array and the entry."""
    text = '{"subnetTraffic":[{"txPkts":1},{"src":"x"}],' + WINDOW + "}"
    with pytest.raises(ValueError, match="subnet traffic, row 1: 'x'"):
        Message.from_json(text)
