"""Messages against their twin: class, order, sums and every byte of the text."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import netlog
from tests.support.message_twin import (
    MOST,
    Flow,
    Routes,
    Who,
    entries,
    message_text,
    named,
    sorted_flows,
)

if TYPE_CHECKING:
    from tests.support.decoder import Address

START, END = "2022-10-01T00:00:00.1Z", "2022-10-01T00:00:05.099999999Z"
START_NS = 1664582400_100000000

# Addresses on both sides of every edge that the rule knows.
EDGES: list[Address] = [
    *(IPv4Address(number) for number in (0, 2**32 - 1, 0x0A000000, 0x0A00FFFF, 0x0A010000)),
    # 100.64.0.0/10, and 100.115.92.0/23 within it
    *(IPv4Address(number) for number in (0x643FFFFF, 0x64400000, 0x647FFFFF, 0x64800000)),
    *(IPv4Address(number) for number in (0x64735BFF, 0x64735C00, 0x64735DFF, 0x64735E00)),
    *(IPv6Address(number) for number in (0, 1, 2**128 - 1, 0xFFFF64400001, 0xFFFF0A000000)),
    # fd7a:115c:a1e0::/48
    *(IPv6Address((0xFD7A115CA1E0 << 80) + near) for near in (-1, 0, 1, 2**80 - 1, 2**80)),
    *map(ip_address, ("fd00:1::5", "2001:db8::1", "2001:0:0:1::1", "1::2:0:0:3", "8.8.8.8")),
    *map(ip_address, ("100.100.100.100", "fd7a:115c:a1e0::53")),
]
addresses: st.SearchStrategy[Address] = st.one_of(
    st.sampled_from(EDGES),
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**16).map(lambda low: IPv4Address(0x64400000 + low)),
)
counts = st.one_of(st.just(0), st.integers(0, 2**32), st.sampled_from([1, 9, 10, 99, 100, MOST]))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Make a connection; some have one address, or none."""
    src = draw(st.one_of(addresses, st.none()))
    dst = draw(st.one_of(addresses, st.none()))
    ports = st.sampled_from([0, 1, 9, 10, 443, 65535])
    return Flow(
        proto=draw(st.sampled_from([0, 1, 6, 17, 58, 99, 255])),
        src=src,
        src_port=draw(ports) if src is not None else 0,
        dst=dst,
        dst_port=draw(ports) if dst is not None else 0,
        counts=(draw(counts), draw(counts), draw(counts), draw(counts)),
    )


@st.composite
def prefixes(draw: st.DrawFn) -> str:
    """Make a prefix of any length, bits beyond it cut off."""
    address = draw(addresses)
    wide = address.max_prefixlen
    length = draw(
        st.one_of(st.sampled_from([0, 1, 8, 10, 23, wide - 1, wide]), st.integers(0, wide))
    )
    return str(ip_network((address, length), strict=False))


@st.composite
def configurations(draw: st.DrawFn) -> Routes:
    """Make a router's configuration."""
    lists = st.lists(prefixes(), max_size=6).map(tuple)
    own = st.lists(addresses.map(str), max_size=3).map(tuple)
    return Routes(draw(own), draw(lists), draw(lists))


def to_config(routes: Routes) -> netlog.RouterConfig:
    """Make the configuration that the package takes."""
    return netlog.RouterConfig(
        local_addrs=routes.local_addrs, routes=routes.routes, subnet_routes=routes.subnet_routes
    )


def build(
    tun: list[Flow],
    sock: list[Flow],
    configured: list[Routes],
    exit_mode: str,
    max_bytes: int = 1 << 18,
    nodes: netlog.NodeMap | list[netlog.NodeMap] | None = None,
) -> list[netlog.Message]:
    """Call the package."""
    return netlog.build_messages(
        node_id="n1",
        start=START,
        end=END,
        tun=netlog.flow_array([flow.row() for flow in tun]),
        sock=netlog.flow_array([flow.row() for flow in sock]),
        routes=[to_config(routes) for routes in configured],
        exit_traffic=exit_mode,
        max_bytes=max_bytes,
        nodes=nodes,
    )


traffic = st.lists(flows(), max_size=25, unique_by=lambda flow: flow.row()[:3])
modes = st.sampled_from(["aggregate", "anonymize", "log", "drop"])


@settings(max_examples=300, deadline=None)
@given(traffic, traffic, st.lists(configurations(), min_size=1, max_size=3), modes)
@example([], [], [Routes()], "log")
@example([Flow(0, None, 0, None, 0, (1, 2, 3, 4))], [], [Routes()], "aggregate")
@example([Flow(0, None, 0, None, 0, (1, 2, 3, 4))], [], [Routes()], "drop")
@example([Flow(0, None, 0, None, 0, (0, 0, 0, 0))], [], [Routes()], "log")
@example([], [Flow(0, EDGES[0], 0, EDGES[0], 0, (0, 0, 0, 0))], [Routes()], "log")
def test_text_of_a_message(
    tun: list[Flow], sock: list[Flow], configured: list[Routes], exit_mode: str
) -> None:
    """One message's text is the twin's, byte for byte; without traffic there is none."""
    expected = entries(tun, sock, configured, exit_mode)
    messages = build(tun, sock, configured, exit_mode)
    texts = [message.to_json() for message in messages]
    assert texts == ([message_text("n1", START, END, expected)] if expected else [])
    for message, text in zip(messages, texts, strict=True):
        assert netlog.Message.from_json(text).to_json() == text
        assert message.start_ns == START_NS


@st.composite
def overlays(draw: st.DrawFn) -> tuple[Who, dict[str, dict[str, Any]], netlog.NodeMap]:
    """Make some nodes: as the twin has them, as a message shows them, as the package takes them."""
    pool = st.sampled_from([a for a in EDGES if getattr(a, "ipv4_mapped", None) is None])
    found = draw(st.lists(pool, max_size=12, unique=True))
    shares = [draw(st.integers(0, 4)) for _ in found]
    who = Who(frozenset(a for a, of in zip(found, shares, strict=True) if not of))
    shown: dict[str, dict[str, Any]] = {}
    nodes: list[netlog.Node] = []
    for number in range(5):
        mine = [address for address, of in zip(found, shares, strict=True) if of == number]
        name, user = draw(st.sampled_from(["", "a", "\u00f6<&>"])), draw(st.sampled_from(["", "u"]))
        first = {address.version: str(address) for address in reversed(mine)}
        members = {
            "nodeId": f"n{number}",
            "name": name,
            "addresses": [first[version] for version in sorted(first)],
            "user": user,
        }
        shown[f"n{number}"] = {key: value for key, value in members.items() if value}
        nodes.append(netlog.Node(f"n{number}", name + ".", mine, user=user))
        if number:
            who.others.update(dict.fromkeys(mine, f"n{number}"))
    return who, shown, netlog.StaticNodes(nodes[0], nodes[1:]).snapshot()


@settings(max_examples=300, deadline=None)
@given(
    traffic,
    traffic,
    st.lists(configurations(), min_size=1, max_size=3),
    modes,
    overlays(),
    st.integers(900, 4000),
)
def test_text_with_nodes(
    tun: list[Flow],
    sock: list[Flow],
    configured: list[Routes],
    exit_mode: str,
    overlay: tuple[Who, dict[str, dict[str, Any]], netlog.NodeMap],
    max_bytes: int,
) -> None:
    """With nodes, too: byte for byte; and split, each part has just the nodes of its entries."""
    who, shown, nodes = overlay
    expected = entries(tun, sock, configured, exit_mode, who)

    def members_of(found: dict[str, Any]) -> dict[str, Any]:
        others = [shown[node_id] for node_id in named(found, who)]
        return {"srcNode": shown["n0"], **({"dstNodes": others} if others else {})}

    messages = build(tun, sock, configured, exit_mode, nodes=nodes)
    text = message_text("n1", START, END, expected, members_of(expected))
    assert [message.to_json() for message in messages] == ([text] if expected else [])
    together: dict[str, list[Any]] = {}
    for message in build(tun, sock, configured, exit_mode, max_bytes, nodes):
        part = json.loads(message.to_json())
        found = {name: rows for name, rows in part.items() if name.endswith("Traffic")}
        text = message_text("n1", START, END, found, members_of(found))
        assert message.to_json() == text
        assert len(text) <= max_bytes
        for name, rows in found.items():
            together.setdefault(name, []).extend(rows)
    assert together == expected


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_edge_of_a_prefix(data: st.DataObject) -> None:
    """The addresses just inside and just outside of a route are classified as such."""
    configured = data.draw(configurations())
    tun: list[Flow] = []
    for text in {*configured.routes, *configured.subnet_routes}:
        network = ip_network(text)
        first, last = int(network[0]), int(network[-1])
        for number in {first - 1, first, last, last + 1}:
            if not 0 <= number < 2**network.max_prefixlen:
                continue
            edge = type(network[0])(number)
            tun.append(Flow(6, edge, 1, ip_address("100.64.0.1"), 2, (1, 1, 0, 0)))
            tun.append(Flow(6, ip_address("fd7a:115c:a1e0::1"), 1, edge, 2, (0, 0, 1, 1)))
    tun = list({flow.row()[:3]: flow for flow in tun}.values())
    own = ("100.64.0.1", "fd7a:115c:a1e0::1")
    configured = Routes(own, configured.routes, configured.subnet_routes)
    expected = entries(tun, [], [configured], "log")
    messages = build(tun, [], [configured], "log")
    texts = [message.to_json() for message in messages]
    assert texts == ([message_text("n1", START, END, expected)] if expected else [])


@settings(max_examples=60, deadline=None)
@given(traffic, traffic, configurations(), modes, st.integers(600, 3000))
def test_split_and_never_cut(
    tun: list[Flow], sock: list[Flow], configured: Routes, exit_mode: str, max_bytes: int
) -> None:
    """Parts of a period are within the bound, in order, and together all of it."""
    expected = entries(tun, sock, [configured], exit_mode)
    together: dict[str, list[Any]] = {}
    for message in build(tun, sock, [configured], exit_mode, max_bytes=max_bytes):
        text = message.to_json()
        assert len(text) <= max_bytes
        part = json.loads(text)
        assert (part.pop("nodeId"), part.pop("start"), part.pop("end")) == ("n1", START, END)
        assert part
        for name, rows in part.items():
            assert rows
            together.setdefault(name, []).extend(rows)
    assert together == expected


@pytest.mark.parametrize("size", [100, 5000, 70_000])
def test_many_connections(size: int) -> None:
    """Thousands of connections among hundreds of routes are classified, sorted and split right."""
    random = np.random.default_rng(size)

    def one(number: int) -> Flow:
        kind = int(random.integers(0, 4))
        low = int(random.integers(0, 2**16))
        source: Address = IPv4Address(0x64400000 + low % 4000)
        target: Address = IPv4Address(0x0A000000 + low * 251)
        if kind == 1:
            target = IPv4Address(0x64400000 + (low * 7) % 4000)
        if kind >= 2:
            source = IPv6Address((0xFD7A115CA1E0 << 80) + low)
            target = IPv6Address((0x20010DB8 << 96) + (low << 64 * (kind - 2)))
        counted = (number + 1, low, number % 3, 5)
        return Flow([6, 17, 1][number % 3], source, number % 65536, target, low, counted)

    tun = list({(flow := one(number)).row()[:3]: flow for number in range(size)}.values())
    routes = tuple(f"10.{number % 256}.{number // 2}.0/{22 + number % 8}" for number in range(300))
    routes = tuple(str(ip_network(text, strict=False)) for text in routes)
    configured = Routes(("100.64.0.1",), ("100.64.0.0/11", "fd7a:115c:a1e0::/48"), routes)
    if size > 5000:
        # The twin's linear search is too slow for all of them: one prefix says the same.
        configured = Routes((), ("100.64.0.0/10", "fd7a:115c:a1e0::/48"), ("10.0.0.0/9",))
    expected = entries(tun, [], [configured], "log")
    together: dict[str, list[Any]] = {}
    messages = build(tun, [], [configured], "log")
    for message in messages:
        text = message.to_json()
        assert len(text) <= 256 * 1024
        part = json.loads(text)
        for name in expected.keys() & part.keys():
            together.setdefault(name, []).extend(part[name])
    assert together == expected
    assert len(messages) == 1 or size > 1000


def test_the_twin_sorts_as_the_page_says() -> None:
    """No address before IPv4 before IPv6, then by value, then by port, then by protocol."""
    ordered = [
        Flow(6, None, 0, None, 0, (1, 0, 0, 0)),
        Flow(6, None, 0, ip_address("9.9.9.9"), 1, (1, 0, 0, 0)),
        Flow(6, ip_address("2.0.0.0"), 9, None, 0, (1, 0, 0, 0)),
        Flow(6, ip_address("10.0.0.0"), 9, ip_address("1.1.1.1"), 1, (1, 0, 0, 0)),
        Flow(17, ip_address("10.0.0.0"), 9, ip_address("1.1.1.1"), 1, (1, 0, 0, 0)),
        Flow(6, ip_address("10.0.0.0"), 80, ip_address("1.1.1.1"), 1, (1, 0, 0, 0)),
        Flow(6, ip_address("::1"), 1, ip_address("1.1.1.1"), 1, (1, 0, 0, 0)),
        Flow(6, ip_address("::1"), 1, ip_address("::"), 0, (1, 0, 0, 0)),
    ]
    assert sorted_flows(reversed(ordered)) == ordered
