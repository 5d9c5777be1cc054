"""The slow twin of classification and messages: DESIGN section 5, one address at a time."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from netlog.messages.default_route import without_default_routes
from netlog.model.routes import prefix_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from tests.support.decoder import Address

__all__ = ["Flow", "Routes", "Who", "as_text", "classify", "entries", "named", "sorted_flows"]

OVERLAY = ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48")
NOT_OVERLAY = (ip_network("100.115.92.0/23"),)
SERVICES = ip_address("100.100.100.100"), ip_address("fd7a:115c:a1e0::53")
MOST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection with its counts; an address is None where there is none."""

    proto: int
    src: Address | None
    src_port: int
    dst: Address | None
    dst_port: int
    counts: tuple[int, int, int, int]

    def row(self) -> tuple[Any, ...]:
        """The row that `netlog.flow_array` takes."""
        return (
            self.proto,
            as_text(self.src, self.src_port),
            as_text(self.dst, self.dst_port),
            *self.counts,
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """The three lists of a router's configuration, as text."""

    local_addrs: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    subnet_routes: tuple[str, ...] = ()

    def contain(self, address: Address) -> bool:
        """Whether an address lies in a configured route; default routes are none."""
        singles, networks = _parsed(self)
        return address in singles or any(address in network for network in networks)


@functools.cache
def _parsed(routes: Routes) -> tuple[list[Address], list[IPv4Network | IPv6Network]]:
    own = [ip_interface(text) for text in routes.local_addrs]
    singles = [one.ip for one in own if one.network.num_addresses == 1]
    networks = [ip_network(text, strict=False) for text in routes.routes + routes.subnet_routes]
    return singles, [network for network in networks if network.prefixlen > 0]


@functools.cache
def counting(configured: tuple[Routes, ...]) -> tuple[Routes, ...]:
    """Without default routes of several prefixes; tests/unit/messages has the twin of that rule."""
    texts = [text for routes in configured for text in routes.routes]
    prefixes = prefix_array(texts)
    kept = {tuple(row) for row in without_default_routes(prefixes).tolist()}
    left = {text for text, row in zip(texts, prefixes.tolist(), strict=True) if tuple(row) in kept}
    return tuple(
        replace(routes, routes=tuple(text for text in routes.routes if text in left))
        for routes in configured
    )


def as_text(address: Address | None, port: int) -> str:
    """Write an address and port as messages have them (RFC 5952)."""
    if address is None:
        return ""
    if isinstance(address, IPv4Address):
        return f"{address}:{port}"
    mapped = address.ipv4_mapped
    return f"[::ffff:{mapped}]:{port}" if mapped else f"[{address}]:{port}"


def classify(flow: Flow, configured: Sequence[Routes]) -> str:
    """Find the class of a tun connection by the rule of the seed system."""

    def kind(address: Address | None) -> str:
        routed = counting(tuple(configured))
        if address is None or not any(routes.contain(address) for routes in routed):
            return "elsewhere"
        inside = any(address in network for network in OVERLAY)
        return "overlay" if inside and address not in NOT_OVERLAY[0] else "subnet"

    kinds = {kind(flow.src), kind(flow.dst)}
    if kinds == {"overlay"}:
        return "virtualTraffic"
    return "subnetTraffic" if "subnet" in kinds else "exitTraffic"


@dataclass(frozen=True, slots=True)
class Who:
    """The nodes of a period: the addresses of the own one, and whose the others are."""

    own: frozenset[Address] = frozenset()
    others: dict[Address, str] = field(default_factory=dict)

    def know(self, address: Address | None) -> bool:
        """Whether it is a node's."""
        return address in self.own or address in self.others


def classify_by_nodes(flow: Flow, configured: Sequence[Routes], who: Who) -> str:
    """Find the class of a tun connection by the rule of today's Tailscale; "": left out."""

    def routed(address: Address | None) -> bool:
        routed = counting(tuple(configured))
        return address is not None and any(routes.contain(address) for routes in routed)

    if flow.dst in SERVICES:
        return ""
    if flow.src in who.own:
        if who.know(flow.dst):
            return "virtualTraffic"
        return "subnetTraffic" if routed(flow.dst) else "exitTraffic"
    if who.know(flow.dst):
        return "subnetTraffic" if routed(flow.src) else "exitTraffic"
    return "exitTraffic"


def named(found: dict[str, list[dict[str, Any]]], who: Who) -> list[str]:
    """The ids of the nodes that a message with these entries names."""
    texts = {entry.get("src") for rows in found.values() for entry in rows}
    texts |= {
        entry.get("dst") for name, rows in found.items() for entry in rows if name != _PHYSICAL
    }
    shown = {ip_address(text.rpartition(":")[0].strip("[]")) for text in texts if text}
    return sorted({who.others[address] for address in shown if address in who.others})


_PHYSICAL = "physicalTraffic"


def sorted_flows(flows: Iterable[Flow]) -> list[Flow]:
    """Sort by (src, dst, proto): no address before IPv4 before IPv6, by value, by port."""

    def order(address: Address | None, port: int) -> tuple[int, int, int]:
        if address is None:
            return 0, 0, 0
        return 4 if isinstance(address, IPv4Address) else 6, int(address), port

    return sorted(
        flows,
        key=lambda flow: (
            order(flow.src, flow.src_port),
            order(flow.dst, flow.dst_port),
            flow.proto,
        ),
    )


def entries(
    tun: Sequence[Flow],
    sock: Sequence[Flow],
    configured: Sequence[Routes],
    exit_mode: str,
    who: Who | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The entries of all messages of a period, by member, in order."""
    classes: dict[str, list[Flow]] = {"virtualTraffic": [], "subnetTraffic": [], "exitTraffic": []}
    for flow in tun:
        kind = (
            classify(flow, configured) if who is None else classify_by_nodes(flow, configured, who)
        )
        classes.get(kind, []).append(flow)
    if exit_mode == "aggregate":
        classes["exitTraffic"] = [_together(classes["exitTraffic"])]
    elif exit_mode == "anonymize":
        classes["exitTraffic"] = _anonymous(classes["exitTraffic"], configured, who)
    elif exit_mode == "drop":
        classes["exitTraffic"] = []
    classes["physicalTraffic"] = list(sock)
    found = {
        name: [entry for flow in sorted_flows(flows) if (entry := _entry(flow))]
        for name, flows in classes.items()
    }
    if not any(any(flow.counts) for flows in classes.values() for flow in flows):
        return {}  # no traffic, no message
    return {name: rows for name, rows in found.items() if rows}


def message_text(
    node_id: str, start: str, end: str, traffic: dict[str, Any], nodes: dict[str, Any] | None = None
) -> bytes:
    """Write a message; nodes are its members srcNode and dstNodes."""
    message = {"nodeId": node_id, "start": start, "end": end, **(nodes or {}), **traffic}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _together(flows: list[Flow]) -> Flow:
    a, b, c, d = (min(MOST, sum(flow.counts[i] for flow in flows)) for i in range(4))
    return Flow(0, None, 0, None, 0, (a, b, c, d))


def _anonymous(flows: list[Flow], configured: Sequence[Routes], who: Who | None) -> list[Flow]:
    """One flow for each overlay address, or pair of them."""

    def keep(address: Address | None) -> Address | None:
        if address is None:
            return None
        if who is not None:
            return address if who.know(address) else None
        overlay = any(address in network for network in OVERLAY) and address not in NOT_OVERLAY[0]
        routed = any(routes.contain(address) for routes in configured)
        return address if overlay and routed else None

    groups: dict[Any, list[Flow]] = {}
    for flow in flows:
        groups.setdefault((keep(flow.src), keep(flow.dst)), []).append(flow)
    return [
        Flow(0, src, 0, dst, 0, _together(group).counts) for (src, dst), group in groups.items()
    ]


def _entry(flow: Flow) -> dict[str, Any]:
    names = ("txPkts", "txBytes", "rxPkts", "rxBytes")
    entry = {
        "proto": flow.proto,
        "src": as_text(flow.src, flow.src_port),
        "dst": as_text(flow.dst, flow.dst_port),
        **dict(zip(names, flow.counts, strict=True)),
    }
    return {name: value for name, value in entry.items() if value}
