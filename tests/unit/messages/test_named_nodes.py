"""Messages where nodes are known: each case as input and the whole message; and their size."""

from __future__ import annotations

import itertools
import json
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlog import Message, Node, NodeMap, RouterConfig, StaticNodes, build_messages, flow_array
from netlog._native import lib
from netlog.messages.build import LeftOut, iter_messages, smallest_max_bytes
from netlog.messages.classify import OverlayRanges
from netlog.model.nodes import MAX_NODE_BYTES
from tests.support import flow_strategies as r

START, END = "2024-02-29T00:00:00Z", "2024-02-29T00:00:04.999999999Z"
HEADER = '{"nodeId":"n1","start":"2024-02-29T00:00:00Z","end":"2024-02-29T00:00:04.999999999Z"'

GW = Node("n1", "gw.example.", ["100.64.0.1", "fd7a:115c:a1e0::1"], "linux", tags=["tag:gw"])
DB = Node("n3", "db.example", ["100.64.0.3", "fd7a:115c:a1e0::3"], tags=["tag:b", "tag:a"])
ANN = Node("n2", "ann.example", ["100.64.0.2"], "macOS", "ann@example.com")
NODES = StaticNodes(GW, [DB, ANN])
GW_TEXT = (
    '{"nodeId":"n1","name":"gw.example","addresses":["100.64.0.1","fd7a:115c:a1e0::1"],'
    '"os":"linux","tags":["tag:gw"]}'
)
DB_TEXT = (
    '{"nodeId":"n3","name":"db.example","addresses":["100.64.0.3","fd7a:115c:a1e0::3"],'
    '"tags":["tag:a","tag:b"]}'
)
ANN_TEXT = (
    '{"nodeId":"n2","name":"ann.example","addresses":["100.64.0.2"],"os":"macOS",'
    '"user":"ann@example.com"}'
)
SRC = f',"srcNode":{GW_TEXT}'
ROUTES = RouterConfig(
    ["100.64.0.1"],
    ["100.64.0.0/10", "fd7a:115c:a1e0::/48", "0.0.0.0/0", "::/0"],
    ["10.0.0.0/8", "fd00:1::/64"],
)

Row: TypeAlias = tuple[int, str, str, int, int, int, int]


def build(tun: list[Row], sock: list[Row] | None = None, **options: Any) -> list[Message]:  # noqa: ANN401
    """The messages of a period."""
    arguments = {
        "node_id": "n1",
        "start": START,
        "end": END,
        "routes": ROUTES,
        "nodes": NODES,
        **options,
    }
    return build_messages(tun=flow_array(tun), sock=flow_array(sock or []), **arguments)


def counted(src: str, dst: str, proto: int = 6) -> Row:
    """A connection with counts 1, 2, 3, 4."""
    return (proto, src, dst, 1, 2, 3, 4)


def entry(src: str = "", dst: str = "", proto: int = 0, times: int = 1) -> str:
    """The text of such a connection, or of several that were added up."""
    members = [f'"proto":{proto}'] if proto else []
    members += [f'"src":"{src}"'] if src else []
    members += [f'"dst":"{dst}"'] if dst else []
    names = ("txPkts", "txBytes", "rxPkts", "rxBytes")
    members += [f'"{name}":{times * number}' for number, name in enumerate(names, 1)]
    return "{" + ",".join(members) + "}"


CASES: dict[str, tuple[list[Row], str]] = {
    "self to a known node": (
        [counted("100.64.0.1:1", "100.64.0.3:443")],
        (
            f'{SRC},"dstNodes":[{DB_TEXT}],"virtualTraffic":['
            f"{entry('100.64.0.1:1', '100.64.0.3:443', 6)}]"
        ),
    ),
    "self to a known node, IPv6": (
        [counted("[fd7a:115c:a1e0::1]:1", "[fd7a:115c:a1e0::3]:443")],
        (
            f'{SRC},"dstNodes":[{DB_TEXT}],"virtualTraffic":['
            f"{entry('[fd7a:115c:a1e0::1]:1', '[fd7a:115c:a1e0::3]:443', 6)}]"
        ),
    ),
    "self to itself": (
        [counted("100.64.0.1:1", "100.64.0.1:2")],
        f'{SRC},"virtualTraffic":[{entry("100.64.0.1:1", "100.64.0.1:2", 6)}]',
    ),
    "both nodes once, by id": (
        [
            counted("100.64.0.1:1", "100.64.0.3:443"),
            counted("100.64.0.1:2", "100.64.0.3:443"),
            counted("100.64.0.1:1", "100.64.0.2:22"),
            counted("[fd7a:115c:a1e0::1]:1", "[fd7a:115c:a1e0::3]:443"),
        ],
        (
            f'{SRC},"dstNodes":[{ANN_TEXT},{DB_TEXT}],"virtualTraffic":['
            f"{entry('100.64.0.1:1', '100.64.0.2:22', 6)},"
            f"{entry('100.64.0.1:1', '100.64.0.3:443', 6)},"
            f"{entry('100.64.0.1:2', '100.64.0.3:443', 6)},"
            f"{entry('[fd7a:115c:a1e0::1]:1', '[fd7a:115c:a1e0::3]:443', 6)}]"
        ),
    ),
    "self to an unknown peer in overlay space": (
        [counted("100.64.0.1:1", "100.64.9.9:443")],
        f'{SRC},"subnetTraffic":[{entry("100.64.0.1:1", "100.64.9.9:443", 6)}]',
    ),
    "self to a subnet": (
        [counted("100.64.0.1:1", "10.1.2.3:443"), counted("100.64.0.1:1", "[fd00:1::7]:443")],
        (
            f'{SRC},"subnetTraffic":[{entry("100.64.0.1:1", "10.1.2.3:443", 6)},'
            f"{entry('100.64.0.1:1', '[fd00:1::7]:443', 6)}]"
        ),
    ),
    "a subnet to a known node": (
        [counted("10.1.2.3:443", "100.64.0.2:22")],
        (
            f'{SRC},"dstNodes":[{ANN_TEXT}],"subnetTraffic":['
            f"{entry('10.1.2.3:443', '100.64.0.2:22', 6)}]"
        ),
    ),
    "a peer to a peer, forwarded": (
        [counted("100.64.0.3:1", "100.64.0.2:22")],
        (
            f'{SRC},"dstNodes":[{ANN_TEXT},{DB_TEXT}],"subnetTraffic":['
            f"{entry('100.64.0.3:1', '100.64.0.2:22', 6)}]"
        ),
    ),
    "an unknown peer to a known node": (
        [counted("100.64.9.9:1", "100.64.0.2:22")],
        (
            f'{SRC},"dstNodes":[{ANN_TEXT}],"subnetTraffic":['
            f"{entry('100.64.9.9:1', '100.64.0.2:22', 6)}]"
        ),
    ),
    "something to self": (
        [counted("10.1.2.3:1", "100.64.0.1:22"), counted("8.8.8.8:53", "100.64.0.1:5353")],
        (
            f'{SRC},"subnetTraffic":[{entry("10.1.2.3:1", "100.64.0.1:22", 6)}],'
            f'"exitTraffic":[{entry(dst="100.64.0.1:0")}]'
        ),
    ),
    "self through an exit node": (
        [
            counted("100.64.0.1:1", "8.8.8.8:53", 17),
            counted("100.64.0.1:2", "8.8.4.4:443"),
            counted("[fd7a:115c:a1e0::1]:2", "[2001:db8::1]:443"),
        ],
        f'{SRC},"exitTraffic":[{entry("100.64.0.1:0", times=2)},{entry("[fd7a:115c:a1e0::1]:0")}]',
    ),
    "a peer through self as exit node": (
        [counted("8.8.8.8:53", "100.64.0.2:5353", 17), counted("9.9.9.9:443", "100.64.0.2:77")],
        f'{SRC},"dstNodes":[{ANN_TEXT}],"exitTraffic":[{entry(dst="100.64.0.2:0", times=2)}]',
    ),
    "a known node to somewhere": (
        # not written from this node's side: all the rest is exit, also towards a subnet
        [counted("100.64.0.2:1", "10.1.2.3:443"), counted("100.64.0.2:2", "8.8.8.8:443")],
        f'{SRC},"dstNodes":[{ANN_TEXT}],"exitTraffic":[{entry("100.64.0.2:0", times=2)}]',
    ),
    "neither end known": (
        [
            counted("10.1.2.3:1", "10.1.2.4:2"),
            counted("100.64.9.9:1", "100.64.9.8:2"),
            counted("8.8.8.8:1", "[2001:db8::1]:2"),
            counted("", "9.9.9.9:1"),
            counted("", "", 0),
        ],
        f'{SRC},"exitTraffic":[{entry(times=5)}]',
    ),
    "IPv4 written as IPv6 is another address": (
        [counted("100.64.0.1:1", "[::ffff:100.64.0.2]:443")],
        f'{SRC},"exitTraffic":[{entry("100.64.0.1:0")}]',
    ),
    "to the overlay's own services": (
        [
            counted("100.64.0.1:1", "100.100.100.100:53", 17),
            counted("[fd7a:115c:a1e0::1]:1", "[fd7a:115c:a1e0::53]:53", 17),
            counted("100.64.0.2:1", "100.100.100.100:80"),
            counted("100.64.0.1:1", "100.100.100.101:53"),
            counted("100.100.100.100:53", "100.64.0.1:1"),
        ],
        (
            f'{SRC},"subnetTraffic":[{entry("100.64.0.1:1", "100.100.100.101:53", 6)},'
            f"{entry('100.100.100.100:53', '100.64.0.1:1', 6)}]"
        ),
    ),
    "no traffic but to services": ([counted("100.64.0.1:1", "100.100.100.100:53", 17)], ""),
}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    """The message is this one, byte for byte, and reads back as it is."""
    tun, expected = CASES[case]
    messages = build(tun)
    texts = [message.to_json().decode() for message in messages]
    assert texts == ([f"{HEADER}{expected}}}"] if expected else [])
    for message in messages:
        read = Message.from_json(message.to_json())
        assert read.to_json() == message.to_json()
        assert (read.src_node, read.dst_nodes) == (message.src_node, message.dst_nodes)
        assert message.src_node == GW


EXITS = [
    counted("100.64.0.1:1", "8.8.8.8:53", 17),
    counted("100.64.0.1:2", "8.8.8.8:53", 17),
    counted("8.8.8.8:53", "100.64.0.2:9", 17),
    counted("", "", 0),
]
MODES = {
    "anonymize": (
        f'{SRC},"dstNodes":[{ANN_TEXT},{DB_TEXT}],"virtualTraffic":['
        f"{entry('100.64.0.1:1', '100.64.0.3:1', 6)}],"
        f'"exitTraffic":[{entry()},{entry(dst="100.64.0.2:0")},{entry("100.64.0.1:0", times=2)}]'
    ),
    "aggregate": (
        f'{SRC},"dstNodes":[{DB_TEXT}],"virtualTraffic":['
        f"{entry('100.64.0.1:1', '100.64.0.3:1', 6)}],"
        f'"exitTraffic":[{entry(times=4)}]'
    ),
    "log": (
        f'{SRC},"dstNodes":[{ANN_TEXT},{DB_TEXT}],"virtualTraffic":['
        f"{entry('100.64.0.1:1', '100.64.0.3:1', 6)}],"
        f'"exitTraffic":[{entry()},{entry("8.8.8.8:53", "100.64.0.2:9", 17)},'
        f"{entry('100.64.0.1:1', '8.8.8.8:53', 17)},{entry('100.64.0.1:2', '8.8.8.8:53', 17)}]"
    ),
    "drop": (
        f'{SRC},"dstNodes":[{DB_TEXT}],"virtualTraffic":['
        f"{entry('100.64.0.1:1', '100.64.0.3:1', 6)}]"
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_exit_modes(mode: str) -> None:
    """Exit traffic is shown as it is asked for, and only nodes that are shown are named."""
    left_out = LeftOut()
    tun = [counted("100.64.0.1:1", "100.64.0.3:1"), *EXITS]
    (message,) = build(tun, exit_traffic=mode, left_out=left_out)
    assert message.to_json().decode() == f"{HEADER}{MODES[mode]}}}"
    dropped = (4 * 4, 4 * 6) if mode == "drop" else (0, 0)
    assert left_out == LeftOut(0, 0, *dropped)


def test_without_nodes_the_default_stays() -> None:
    """Without nodes exit traffic is one entry; anonymize keeps overlay addresses in a route."""
    tun = [*EXITS, counted("100.64.9.9:7", "8.8.8.8:53"), counted("10.1.2.3:1", "[::1]:1")]
    tun += [counted("100.100.100.100:53", "8.8.8.8:53"), counted("100.115.92.1:1", "1.1.1.1:1")]
    routes = RouterConfig(routes=["100.64.0.0/16", "0.0.0.0/0"])
    (message,) = build(tun, nodes=None, routes=routes)
    assert message.to_json().decode() == f'{HEADER},"exitTraffic":[{entry(times=8)}]}}'
    (message,) = build(tun, nodes=None, routes=routes, exit_traffic="anonymize")
    assert message.to_json().decode() == (
        f'{HEADER},"exitTraffic":[{entry(times=4)},{entry(dst="100.64.0.2:0")},'
        f"{entry('100.64.0.1:0', times=2)},{entry('100.64.9.9:0')}]}}"
    )


def test_physical_traffic_names_the_peer() -> None:
    """The source of physical traffic is a node; where it is, never."""
    sock = [
        (0, "100.64.0.2:0", "192.0.2.1:41641", 1, 2, 3, 4),
        (0, "100.64.0.1:0", "100.64.0.3:41641", 1, 2, 3, 4),
        (0, "", "100.64.0.3:41641", 1, 2, 3, 4),
    ]
    (message,) = build([], sock)
    assert message.dst_nodes == (ANN,)
    assert len(message.physical_traffic) == 3


def test_left_out_adds_up() -> None:
    """What no message shows is counted, over periods; with what is shown it is everything."""
    left_out = LeftOut(1, 1, 1, 1)
    service = counted("100.64.0.1:1", "100.100.100.100:53")
    assert build([service, *EXITS], exit_traffic="drop", left_out=left_out) == []
    assert left_out == LeftOut(1 + 4, 1 + 6, 1 + 16, 1 + 24)
    (message,) = build([service, *EXITS], left_out=left_out)
    assert left_out == LeftOut(1 + 8, 1 + 12, 1 + 16, 1 + 24)
    assert (message.packets, message.n_bytes) == (16, 24)


def test_other_services() -> None:
    """Service addresses are the caller's; without nodes they are like any other."""
    overlay = OverlayRanges(["100.64.0.0/10"], services=["10.0.0.53", "fd00:1::/64"])
    tun = [
        counted("100.64.0.1:1", "10.0.0.53:53"),
        counted("100.64.0.1:1", "[fd00:1::7]:53"),
        counted("100.64.0.1:1", "100.100.100.100:53"),
    ]
    (message,) = build(tun, overlay=overlay)
    assert message.subnet_traffic.tobytes() == flow_array(tun[2:]).tobytes()
    (message,) = build(tun, overlay=overlay, nodes=None)
    assert len(message.subnet_traffic) + len(message.virtual_traffic) == 3


def test_nodes_that_changed() -> None:
    """All nodes of the period count; the last map describes them."""
    late = Node("n2", "ann-new", ["100.64.0.22"], user="ann@example.com")
    maps = [NODES.snapshot(), StaticNodes(GW, [late]).snapshot()]
    tun = [
        counted("100.64.0.1:1", "100.64.0.2:1"),
        counted("100.64.0.1:1", "100.64.0.3:1"),
        counted("100.64.0.1:1", "100.64.0.22:1"),
    ]
    (message,) = build(tun, nodes=maps)
    assert len(message.virtual_traffic) == 3
    assert message.dst_nodes == (late, DB)
    (message,) = build(tun, nodes=iter(maps[1:]))
    assert len(message.virtual_traffic) == 1
    (message,) = build(tun, nodes=NodeMap(None, maps[1].by_address))
    assert message.src_node is None
    assert [len(message.virtual_traffic), len(message.subnet_traffic)] == [0, 1]
    # the two others are the one exit entry, which keeps the address that is known
    assert message.dst_nodes == (GW, late)


@pytest.mark.parametrize("nodes", [[], NodeMap(), StaticNodes(None)], ids=["[]", "map", "static"])
def test_nobody_is_known(nodes: Any) -> None:  # noqa: ANN401 - any form of nodes
    """A source that knows nobody is one all the same: everything is exit traffic."""
    (message,) = build([counted("100.64.0.1:1", "100.64.0.2:1")], nodes=nodes)
    assert message.to_json().decode() == f'{HEADER},"exitTraffic":[{entry()}]}}'


@pytest.mark.parametrize("nodes", [5, "n1", [5], [NODES], GW])
def test_what_are_no_nodes(nodes: Any) -> None:  # noqa: ANN401 - any wrong argument
    """It raises before anything is made."""
    with pytest.raises(TypeError):
        iter_messages(node_id="n", start=0, end=1, tun=None, sock=None, routes=ROUTES, nodes=nodes)


def test_anonymized_sums_saturate() -> None:
    """A sum stays at 2^64-1 rather than to wrap, wherever it passes it."""
    half = 2**63
    rows: list[Row] = [
        (6, f"100.64.0.1:{port}", "8.8.8.8:1", half, r.U64, 2**32 - 1, 2**33 + port)
        for port in range(1, 4)
    ]
    (message,) = build(rows)
    expected = [(0, "100.64.0.1:0", "", r.U64, r.U64, 3 * (2**32 - 1), 3 * 2**33 + 6)]
    assert message.exit_traffic.tobytes() == flow_array(expected).tobytes()


def test_anonymized_rows_of_other_forms() -> None:
    """Rows that say the same in other bytes are one entry."""
    rows = flow_array([counted("100.64.0.1:1", "8.8.8.8:1")] * 3)
    rows = rows.copy()
    rows["src"][1] = np.void(b"\x07" * 10 + rows["src"][0].tobytes()[10:])
    # an IPv4 source beside an IPv6 destination
    rows["version"][2], rows["flags"][2] = 6, lib.NETLOG_SRC_OTHER
    (message,) = build_messages(
        node_id="n1", start=START, end=END, tun=rows, sock=None, routes=ROUTES, nodes=NODES
    )
    expected = flow_array([(0, "100.64.0.1:0", "", 3, 6, 9, 12)])
    assert message.exit_traffic.tobytes() == expected.tobytes()


def test_both_ends_are_kept() -> None:
    """An exit connection between two nodes keeps both, also of different families."""
    ends = ("100.64.0.3:1", "100.64.0.2:2"), ("100.64.0.2:1", "[fd7a:115c:a1e0::3]:9")
    tun = [counted(src, dst, proto) for src, dst in ends for proto in (6, 17)]
    (message,) = build(tun, routes=RouterConfig())
    assert message.dst_nodes == (ANN, DB)
    expected = [
        (0, "100.64.0.2:0", "[fd7a:115c:a1e0::3]:0", 2, 4, 6, 8),
        (0, "100.64.0.3:0", "100.64.0.2:0", 2, 4, 6, 8),
    ]
    assert message.exit_traffic.tobytes() == flow_array(expected).tobytes()


def test_an_idle_connection_that_nobody_keeps_says_nothing() -> None:
    """An entry without address and counts is none."""
    idle = (6, "8.8.8.8:1", "9.9.9.9:1", 0, 0, 0, 0)
    (message,) = build([idle, counted("100.64.0.1:1", "100.64.0.3:1")])
    assert len(message.exit_traffic) == 0
    (message,) = build([(6, "100.64.0.1:1", "9.9.9.9:1", 0, 0, 0, 0), counted("", "")])
    assert message.to_json().decode().endswith(f'[{entry()},{{"src":"100.64.0.1:0"}}]}}')


# -- size ------------------------------------------------------------------------------------------

LONGEST = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff"
LONGEST_TIME = "9999-12-31T23:59:59.999999999Z"
WORST = [
    "plain",
    "\x01" * 500,
    '"\\' * 300,
    "\ud800\udfff" * 200,
    "\u2028\U0001f600" * 100,
    "x" * (MAX_NODE_BYTES - 200),
]


def worst_node(number: int, text: str) -> Node:
    """A node of text that needs escaping, with addresses of 39 characters."""
    own = [f"{LONGEST}{number:x}", f"255.255.255.{number}"]
    return Node(f"{number:04}", text, own, "o\x02s", f"\udcff{number}@")


def least_node_id() -> str:
    """A node id that is as long as what it is written as."""
    return 'n"\ud800\x00'


@pytest.mark.parametrize("text", WORST, ids=lambda text: repr(text)[:12])
def test_smallest_max_bytes(text: str) -> None:
    """The longest entry with the two longest nodes fits into so many bytes, not into one less."""
    own, one, two, three = (worst_node(number, text) for number in range(4))
    nodes = StaticNodes(own, [one, two, three])
    ends = f"[{LONGEST}1]:65535", f"[{LONGEST}2]:65535"
    most = r.U64, r.U64, r.U64, r.U64
    tun = [(255, *ends, *most), (254, *ends, *most)]
    routes = RouterConfig(subnet_routes=["ffff::/16"])
    least = smallest_max_bytes(least_node_id(), nodes)
    assert least == smallest_max_bytes(least_node_id(), nodes.snapshot())
    options: dict[str, Any] = {"start": LONGEST_TIME, "end": LONGEST_TIME, "routes": routes}
    options |= {"node_id": least_node_id(), "nodes": nodes}
    sizes = [len(message.to_json()) for message in build(tun, max_bytes=least, **options)]
    # the array has a shorter name than the longest one
    short = len("physicalTraffic") - len("subnetTraffic")
    assert sizes == [least - short] * 2
    assert len(build(tun, max_bytes=least - short, **options)) == 2
    with pytest.raises(ValueError, match="does not fit"):
        build(tun, max_bytes=least - short - 1, **options)


def test_smallest_max_bytes_of_a_source_that_may_change() -> None:
    """It is enough for the longest nodes that there can be; without nodes nothing is added."""

    class Source:
        def snapshot(self) -> NodeMap:
            return NODES.snapshot()

    bound = smallest_max_bytes("n1", Source())
    longest = [worst_node(number, "") for number in range(3)]
    room = MAX_NODE_BYTES - max(len(node.to_json()) for node in longest) - len(',"name":""')
    longest = [worst_node(number, "x" * room) for number in range(3)]
    assert [len(node.to_json()) for node in longest] == [MAX_NODE_BYTES] * 3
    assert bound == smallest_max_bytes("n1", StaticNodes(longest[0], longest[1:]))
    assert smallest_max_bytes("n1", StaticNodes(None)) == smallest_max_bytes("n1")
    alone = smallest_max_bytes("n1", StaticNodes(GW))
    assert alone - smallest_max_bytes("n1") == len(SRC)


ENDS = [f"[{LONGEST}{number:x}]:65535" for number in range(7)]
ENDS += ["[::ffff:255.255.255.255]:65535", "255.255.255.255:65535", "[::]:0", ""]
ENDS += [f"255.255.255.{number}:1" for number in range(8)]
ends = st.sampled_from(ENDS)
numbers = st.sampled_from([0, 1, r.U64])
rows = st.tuples(st.integers(0, 255), ends, ends, numbers, numbers, numbers, numbers)
worst_nodes = st.builds(
    lambda own, texts: StaticNodes(
        worst_node(0, own) if own is not None else None,
        [worst_node(number, text) for number, text in enumerate(texts, 1)],
    ),
    st.none() | st.sampled_from(WORST),
    st.lists(st.sampled_from(WORST) | st.text(max_size=40), max_size=6),
)


def named_by(part: dict[str, Any], nodes: StaticNodes) -> list[str]:
    """The ids of the nodes, but the own one, whose addresses the entries of a message show."""
    known = nodes.snapshot()
    shown = [
        entry.get(end, "").rpartition(":")[0].strip("[]")
        for member, found in part.items()
        if member.endswith("Traffic")
        for entry in found
        for end in (("src",) if member == "physicalTraffic" else ("src", "dst"))
    ]
    ids = {node.node_id for address, node in known.by_address.items() if str(address) in shown}
    own = known.self_node
    return sorted(ids - {own.node_id if own is not None else None})


@settings(max_examples=150, deadline=None)
@given(
    st.lists(rows, max_size=12),
    st.lists(rows, max_size=5),
    worst_nodes,
    st.sampled_from(["anonymize", "aggregate", "log", "drop"]),
    st.integers(0, 12_000),
)
def test_size(tun: Any, sock: Any, nodes: StaticNodes, mode: str, extra: int) -> None:  # noqa: ANN401
    """No message is over the bound, each names just its nodes, and together they are all."""
    options: dict[str, Any] = {"nodes": nodes, "exit_traffic": mode, "node_id": "\ud800\x01"}
    options["routes"] = RouterConfig(subnet_routes=["ffff::/16", "255.0.0.0/8"])
    whole = build(tun, sock, max_bytes=1 << 80, **options)
    max_bytes = smallest_max_bytes("\ud800\x01", nodes) + extra
    parts = build(tun, sock, max_bytes=max_bytes, **options)
    assert len(whole) <= 1
    together: dict[str, list[Any]] = {}
    for message in (*whole, *parts):
        text = message.to_json()
        part = json.loads(text)
        ids = named_by(part, nodes)
        assert [node["nodeId"] for node in part.get("dstNodes", [])] == ids
        assert [node.node_id for node in message.dst_nodes] == ids
        own = nodes.snapshot().self_node
        assert part.get("srcNode") == (json.loads(own.to_json()) if own is not None else None)
        assert part["nodeId"] == "\ufffd\x01"
        assert Message.from_json(text).to_json() == text
    for message in parts:
        assert len(message.to_json()) <= max_bytes
        for member, found in json.loads(message.to_json()).items():
            if member.endswith("Traffic"):
                assert found
                together.setdefault(member, []).extend(found)
    expected = json.loads(whole[0].to_json()) if whole else {}
    assert together == {name: found for name, found in expected.items() if name.endswith("Traffic")}


@pytest.mark.parametrize("limit", [9_000, 60_000, 130_000])
@pytest.mark.parametrize("spread", [True, False], ids=["spread", "one after the other"])
def test_as_full_as_can_be(limit: int, spread: bool) -> None:  # noqa: FBT001
    """The first entry of a message would not have fitted into the one before, with its nodes."""
    peers = [
        Node(f"p{number:03}", "x" * (number * 37 % 300), [f"100.64.1.{number}"])
        for number in range(250)
    ]
    order = [number * 91 % 250 if spread else number // 10 for number in range(2500)]
    tun = [
        counted(f"100.64.0.1:{port}", f"100.64.1.{number}:1") for port, number in enumerate(order)
    ]
    messages = build(tun, nodes=StaticNodes(GW, peers), max_bytes=limit)
    assert len(messages) > 1
    for message, following in itertools.pairwise(messages):
        text = message.to_json()
        assert len(text) <= limit
        assert Message.from_json(text).to_json() == text
        first = following.virtual_traffic[0]
        more = len(",") + len(json.dumps(r.entry_of(first), separators=(",", ":")))
        node = peers[int(first["dst"].tobytes()[15])]
        more += 0 if node in message.dst_nodes else len(node.to_json()) + len(",")
        assert len(text) + more > limit
    joined = b"".join(message.virtual_traffic.tobytes() for message in messages)
    assert joined == flow_array(tun).tobytes()


def test_full_to_the_byte() -> None:
    """At every bound a message has just as many entries as fit, in all arrays."""
    peers = [Node(f"p{number:03}", "x" * number, [f"100.64.1.{number}"]) for number in range(250)]
    tun = [
        counted(f"100.64.0.1:{port}", f"100.64.1.{port // 3}:1") for port in range(600)
    ]  # in three writings of 256, each with nodes of its own
    exits = [counted(f"8.8.8.8:{port}", f"100.64.1.{200 + port}:1") for port in range(50)]
    sizes: list[int] = []
    seen: set[Node] = set()
    size = len(HEADER) + len(SRC) + len('}"dstNodes":[],') + len('"virtualTraffic":[],')
    for number, row in enumerate((*tun, *exits)):
        size += len(entry(row[1], row[2], row[0])) + (0 < number != len(tun))
        size += len('"exitTraffic":[],') if number == len(tun) else 0
        peer = peers[int(row[2].rpartition(":")[0].rpartition(".")[2])]
        size += 0 if peer in seen else len(peer.to_json()) + (len(seen) > 0)
        seen.add(peer)
        sizes.append(size)
    found = set()
    rows, nodes = flow_array([*tun, *exits]), StaticNodes(GW, peers)
    for limit in (*range(sizes[300], sizes[303] + 1), *range(sizes[598], sizes[603] + 1, 3)):
        options: dict[str, Any] = {"start": START, "end": END, "exit_traffic": "log"}
        messages = iter_messages(
            node_id="n1",
            tun=rows,
            sock=None,
            routes=RouterConfig(),
            nodes=nodes,
            max_bytes=limit,
            **options,
        )
        message = next(messages)
        count = len(message.virtual_traffic) + len(message.exit_traffic)
        assert count == sum(size <= limit for size in sizes)
        assert len(message.to_json()) == sizes[count - 1]
        found.add(count)
    assert found >= {301, 304, 599, 600, 601, 603}


def test_many_connections_and_nodes() -> None:
    """Ten thousand connections with a thousand nodes: none over the bound, all there."""
    peers = [
        Node(f"p{number:04}", f"host-{number}", [f"100.64.{number // 250 + 1}.{number % 250}"])
        for number in range(1000)
    ]
    tun = [
        counted(f"100.64.0.1:{port}", f"{peers[port % 997].addresses[0]}:{port % 7}")
        for port in range(10_000)
    ]
    messages = build(tun, nodes=StaticNodes(GW, peers), max_bytes=65_536)
    assert sum(len(message.virtual_traffic) for message in messages) == 10_000
    assert max(len(message.to_json()) for message in messages) <= 65_536
    for message in messages:
        assert Message.from_json(message.to_json()).dst_nodes == message.dst_nodes
        assert {node.node_id for node in message.dst_nodes} == {
            peers[int(row["src_port"]) % 997].node_id for row in message.virtual_traffic
        }
        assert list(message.dst_nodes) == sorted(message.dst_nodes, key=lambda node: node.node_id)
