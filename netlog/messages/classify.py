"""Classifies connections. This module has the rules; the core searches the prefixes."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from netlog._closing import Closing
from netlog._native import check, ffi, lib
from netlog.errors import StateError
from netlog.messages.default_route import without_default_routes
from netlog.model.flows import FlowArray
from netlog.model.routes import NetworkLike, PrefixArray, RouterConfig, prefix_array

__all__ = [
    "DEFAULT_OVERLAY",
    "DEFAULT_SERVICES",
    "IN_ROUTE",
    "NODE",
    "NODE_NUMBER_SHIFT",
    "NODE_RULE",
    "OVERLAY_ROUTE",
    "SEED_RULE",
    "SELF",
    "TO_SERVICE",
    "VALUE_BITS",
    "ClassifiedFlows",
    "OverlayRanges",
    "PrefixMap",
    "Tally",
    "Traffic",
    "classify_flows",
    "find_ends",
    "node_map",
    "route_map",
]

# The value of an address has 4 bits. Without nodes, these two are used:
IN_ROUTE = 1
_IN_OVERLAY = 2
OVERLAY_ROUTE = IN_ROUTE | _IN_OVERLAY
# With nodes, IN_ROUTE and these three are used:
SELF = 2
NODE = 4  # set for the own node, too
_SERVICE = 8
NODE_NUMBER_SHIFT = 4  # the number of the node is in the bits above
VALUE_BITS = 0xFFFFFFFF & ~IN_ROUTE  # the bits that a node's own address determines
_VALUES = 16

TO_SERVICE = 254
"""The class of a row whose destination is one of the overlay's own services."""

DEFAULT_SERVICES = ("100.100.100.100", "fd7a:115c:a1e0::53")
"""The addresses of the overlay's own services, such as DNS. Source: net/tsaddr of Tailscale."""

# Rows per step: the tally still finds in the cache what classifying has loaded.
_CHUNK_ROWS = 8192


class Traffic(IntEnum):
    """The classes of traffic, in the order in which a message shows them."""

    VIRTUAL = 0
    SUBNET = 1
    EXIT = 2
    PHYSICAL = 3


class OverlayRanges:
    """The addresses that an overlay gives to its nodes.

    Args:
        included: prefixes whose addresses are overlay addresses.
        excluded: prefixes within them whose addresses are not overlay addresses.
        services: the overlay's own service addresses, as prefixes. Traffic to them is left out if
            nodes are known.

    Raises:
        ValueError: a value is not a prefix.

    Thread safety: immutable.
    """

    __slots__ = ("prefixes", "services")

    def __init__(
        self,
        included: Iterable[NetworkLike],
        excluded: Iterable[NetworkLike] = (),
        services: Iterable[NetworkLike] = DEFAULT_SERVICES,
    ) -> None:
        inside = prefix_array(included)
        inside["set"] = _IN_OVERLAY
        outside = prefix_array(excluded)
        outside["clear"] = _IN_OVERLAY
        self.prefixes: PrefixArray = np.concatenate([inside, outside])
        self.prefixes.flags.writeable = False
        self.services = prefix_array(services)
        self.services["set"] = _SERVICE
        self.services.flags.writeable = False


DEFAULT_OVERLAY = OverlayRanges(
    included=("100.64.0.0/10", "fd7a:115c:a1e0::/48"), excluded=("100.115.92.0/23",)
)
"""Carrier-grade NAT space (RFC 6598) without the part that ChromeOS uses internally, and the prefix
that Tailscale took from RFC 4193. Source: net/tsaddr of Tailscale."""


class PrefixMap(Closing):
    """A map from an address to a value, which the prefixes that contain the address determine.

    Args:
        prefixes: PREFIX_DTYPE, shape (n,); copied. From the shortest prefix to the longest, each
            changes the value to (value & ~clear) | set.

    Raises:
        ValueError: a version or a length is out of range.

    Thread safety: any thread until `close`.
    """

    __slots__ = ("_handle",)

    def __init__(self, prefixes: PrefixArray) -> None:
        handle = ffi.new("struct netlog_prefixes **")
        rows = np.ascontiguousarray(prefixes)
        pointer = ffi.from_buffer("struct netlog_prefix[]", rows)
        check(lib.netlog_prefixes_open(pointer, len(rows), handle), "prefixes")
        self._handle: Any = ffi.gc(handle[0], lib.netlog_prefixes_close)

    def close(self) -> None:
        """Free the map. A second call does nothing."""
        if self._handle is not None:
            ffi.release(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:  # noqa: ANN401 - a pointer of the core
        """The core's `struct netlog_prefixes *`.

        Raises:
            StateError: the map is closed.
        """
        if self._handle is None:
            raise StateError("the prefix map is closed")
        return self._handle

    def find(self, address: str) -> int:
        """Return the value of an address, such as `10.0.0.1` or `fd00::1`.

        Raises:
            ValueError: `address` is not an address.
            StateError: the map is closed.
        """
        parsed = ipaddress.ip_address(address)
        number = int(parsed)
        value: int = lib.netlog_prefixes_find(self.handle, number.to_bytes(16), parsed.version)
        return value


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of rows in a class, and the sums of their counts, each at most 2^64-1."""

    rows: int
    tx_packets: int
    tx_bytes: int
    rx_packets: int
    rx_bytes: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """The four counters in the order of a row."""
        return self.tx_packets, self.tx_bytes, self.rx_packets, self.rx_bytes


@dataclass(frozen=True, slots=True)
class ClassifiedFlows:
    """Flow rows with their classes.

    Attributes:
        flows: FLOW_DTYPE, shape (n,).
        classes: uint8, shape (n,): a `Traffic`, TO_SERVICE, or NETLOG_LEFT_OUT for a row without
            address, protocol and counts.
        tallies: the sums of each class, by `Traffic`.
    """

    flows: FlowArray
    classes: npt.NDArray[np.uint8]
    tallies: tuple[Tally, ...]


def _make_seed_rule() -> npt.NDArray[np.uint8]:
    """The class, by value of source + 16 * value of destination."""
    rule = np.full(_VALUES * _VALUES, Traffic.EXIT, np.uint8)
    for index in range(len(rule)):
        ends = index % _VALUES, index // _VALUES
        if all(end == OVERLAY_ROUTE for end in ends):
            rule[index] = Traffic.VIRTUAL
        elif any(end == IN_ROUTE for end in ends):
            rule[index] = Traffic.SUBNET
    rule.flags.writeable = False
    return rule


SEED_RULE = _make_seed_rule()
"""If both ends are overlay addresses in a route: virtual. Otherwise, if an end is another address
in a route: subnet. Otherwise: exit. Source: wgengine/netlog of Tailscale at commit a1a43ed266."""


def _make_node_rule() -> npt.NDArray[np.uint8]:
    """The class, by value of source + 16 * value of destination."""
    rule = np.full(_VALUES * _VALUES, Traffic.EXIT, np.uint8)
    for index in range(len(rule)):
        src, dst = index % _VALUES, index // _VALUES
        if dst & _SERVICE:
            rule[index] = TO_SERVICE
        elif src & SELF and dst & NODE:
            rule[index] = Traffic.VIRTUAL
        elif (src & SELF and dst & IN_ROUTE) or (dst & NODE and src & IN_ROUTE):
            rule[index] = Traffic.SUBNET
    rule.flags.writeable = False
    return rule


NODE_RULE = _make_node_rule()
"""From the own node to a known node: virtual. From the own node to any other address, or from any
other address to a known node: subnet if that address is in a route, otherwise exit. Everything
else: exit. Source: wgengine/netlog of Tailscale since commit 478342a64."""


def route_map(
    configs: Iterable[RouterConfig], overlay: OverlayRanges = DEFAULT_OVERLAY
) -> PrefixMap:
    """Make the map for `SEED_RULE`.

    Args:
        configs: all configurations that were in force at any moment of the period. A default
            route, also one of several prefixes, is ignored: it does not say to whom an address
            belongs.
        overlay: the addresses of the overlay.

    Returns:
        A map. The caller closes it.
    """
    return PrefixMap(np.concatenate([_routes(configs), overlay.prefixes]))


def node_map(
    configs: Iterable[RouterConfig], nodes: PrefixArray, overlay: OverlayRanges = DEFAULT_OVERLAY
) -> PrefixMap:
    """Make the map for `NODE_RULE`.

    Args:
        configs: as for `route_map`.
        nodes: the addresses of nodes: `NodeNumbers.prefixes`.
        overlay: the service addresses of the overlay.

    Returns:
        A map. The caller closes it. The value of a node's address contains the number of the node,
        from bit NODE_NUMBER_SHIFT on.
    """
    return PrefixMap(np.concatenate([_routes(configs), nodes, overlay.services]))


def _routes(configs: Iterable[RouterConfig]) -> PrefixArray:
    """All prefixes that count as a route, with `IN_ROUTE` as the bit to set."""
    own, reached = [prefix_array(())], [prefix_array(())]
    for config in configs:
        begin = len(config.local_addrs)
        end = begin + len(config.routes)
        own += [config.prefixes[:begin], config.prefixes[end:]]
        reached.append(config.prefixes[begin:end])
    routes = np.concatenate([*own, without_default_routes(np.concatenate(reached))])
    routes = routes[routes["length"] > 0]
    routes["set"] = IN_ROUTE
    return routes


def find_ends(prefix_map: PrefixMap, flows: FlowArray) -> npt.NDArray[np.uint32]:
    """Find the value of both ends of each row.

    Args:
        prefix_map: the values of addresses. The value of an absent address is 0.
        flows: FLOW_DTYPE, shape (n,), C-contiguous.

    Returns:
        Source and destination, shape (n, 2).

    Raises:
        StateError: the map is closed.

    Thread safety: any thread.
    """
    values = np.zeros((len(flows), 2), np.uint32)
    lib.netlog_prefixes_find_ends(
        prefix_map.handle,
        ffi.from_buffer("struct netlog_flow[]", flows),
        len(flows),
        ffi.from_buffer("uint32_t[]", values),
    )
    return values


def classify_flows(
    flows: FlowArray, prefix_map: PrefixMap | None, rule: npt.NDArray[np.uint8] = SEED_RULE
) -> ClassifiedFlows:
    """Classify rows and add up each class.

    Args:
        flows: FLOW_DTYPE, shape (n,), C-contiguous; not changed.
        prefix_map: the values of addresses. The value of an absent address is 0. None: all rows are
            physical.
        rule: uint8, shape (256,): the class, by value of source + 16 * value of destination.

    Returns:
        The rows, their classes and the tallies.

    Raises:
        StateError: the map is closed.

    Thread safety: any thread.
    """
    n = len(flows)
    classes = np.full(n, Traffic.PHYSICAL, np.uint8)
    tallies = ffi.new("struct netlog_tally[]", lib.NETLOG_CLASSES)
    rows = ffi.from_buffer("struct netlog_flow[]", flows)
    classes_out = ffi.from_buffer("uint8_t[]", classes)
    rule_in = ffi.from_buffer("uint8_t[]", np.ascontiguousarray(rule, np.uint8))
    for start in range(0, n, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, n - start)
        if prefix_map is not None:
            lib.netlog_prefixes_classify(
                prefix_map.handle, rows + start, count, rule_in, classes_out + start
            )
        lib.netlog_tally_flows(rows + start, count, classes_out + start, tallies)
    return ClassifiedFlows(flows, classes, tuple(_read_tally(tally) for tally in tallies))


def _read_tally(tally: Any) -> Tally:  # noqa: ANN401 - a struct of the core
    return Tally(tally.rows, tally.tx_packets, tally.tx_bytes, tally.rx_packets, tally.rx_bytes)
