"""Flow rows for the tests: hypothesis strategies, and what a row says, read without the core."""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st

if TYPE_CHECKING:
    from netlog.model.flows import FlowArray

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint: TypeAlias = tuple[Address, int] | None

NO_SRC, NO_DST, SRC_OTHER, DST_OTHER = 1, 2, 4, 8
U64 = 2**64 - 1

_KNOWN = ["0.0.0.0", "100.64.0.1", "100.64.0.2", "10.0.0.1", "255.255.255.255"]  # noqa: S104 - data

# Few enough values to meet again, and every shape that a text form has a rule for.
_GROUPS = st.sampled_from([0, 0, 0, 1, 0xF, 0x10, 0x100, 0xABCD, 0xFFFF])
ipv4 = st.one_of(
    st.sampled_from(_KNOWN).map(ipaddress.IPv4Address),
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
)
ipv6 = st.one_of(
    st.lists(_GROUPS, min_size=8, max_size=8).map(
        lambda groups: ipaddress.IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups))
    ),
    ipv4.map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}")),
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
)
ports = st.one_of(st.sampled_from([0, 1, 53, 443, 65535]), st.integers(0, 65535))
counters = st.one_of(
    st.just(0), st.integers(0, 10_000), st.integers(0, U64), st.sampled_from([U64, 10**8, 10**16])
)


def endpoint_text(endpoint: Endpoint) -> str:
    """`a.b.c.d:port`, `[v6]:port` or "", as a message writes it."""
    if endpoint is None:
        return ""
    address, port = endpoint
    if isinstance(address, ipaddress.IPv4Address):
        return f"{address}:{port}"
    if address.ipv4_mapped is not None:
        return f"[::ffff:{address.ipv4_mapped}]:{port}"
    # ipaddress shortens as RFC 5952 says
    return f"[{address.compressed}]:{port}"


endpoints = st.one_of(st.none(), st.tuples(st.one_of(ipv4, ipv6), ports))
rows = st.tuples(
    st.integers(0, 255),
    endpoints.map(endpoint_text),
    endpoints.map(endpoint_text),
    counters,
    counters,
    counters,
    counters,
)
row_lists = st.lists(rows, max_size=30)


def read_endpoints(row: Any) -> tuple[Endpoint, Endpoint]:  # noqa: ANN401 - a numpy void
    """Source and destination of a FLOW_DTYPE row, by the words of csrc/include/netlog_flow.h."""
    version, flags = int(row["version"]), int(row["flags"])
    result: list[Endpoint] = []
    for name, absent, other in (("src", NO_SRC, SRC_OTHER), ("dst", NO_DST, DST_OTHER)):
        raw = row[name].tobytes()
        family = 10 - version if flags & other else version
        if version not in {4, 6} or flags & absent or (family == 4 and not any(raw[8:])):
            result.append(None)
            continue
        address: Address = (
            ipaddress.IPv4Address(raw[12:]) if family == 4 else ipaddress.IPv6Address(raw)
        )
        result.append((address, int(row[f"{name}_port"])))
    return result[0], result[1]


def entry_of(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a numpy void
    """The entry of a row as a dict, members in their order."""
    src, dst = read_endpoints(row)
    members = {
        "proto": int(row["proto"]),
        "src": endpoint_text(src),
        "dst": endpoint_text(dst),
        "txPkts": int(row["tx_packets"]),
        "txBytes": int(row["tx_bytes"]),
        "rxPkts": int(row["rx_packets"]),
        "rxBytes": int(row["rx_bytes"]),
    }
    return {name: value for name, value in members.items() if value}


def sort_key(row: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a numpy void
    """What entries are sorted by: no address before IPv4 before IPv6, value, port; proto last."""
    ends = [
        (0,) if end is None else (end[0].version, int(end[0]), end[1])
        for end in read_endpoints(row)
    ]
    return (*ends, int(row["proto"]))


def totals(*arrays: FlowArray) -> tuple[int, ...]:
    """The sums of the four counters, exact."""
    names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    every = list(itertools.chain.from_iterable(arrays))
    return tuple(sum(int(row[name]) for row in every) for name in names)
