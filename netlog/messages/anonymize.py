"""Removes from exit traffic what would show who was contacted: one entry per overlay address."""

import numpy as np
import numpy.typing as npt

from netlog._native import check, ffi, lib
from netlog.model.flows import FLOW_DTYPE, FlowArray

__all__ = ["anonymize"]

_COUNTERS = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
_IPV4 = 4
_IPV6 = 6
_LOW_BITS = np.uint64(32)
_LOW_MASK = np.uint64(0xFFFFFFFF)
_MOST = np.uint64(2**64 - 1)


def anonymize(flows: FlowArray, keeps: npt.NDArray[np.bool_]) -> FlowArray:
    """Remove protocol, ports and foreign addresses, then add up rows that have become equal.

    Args:
        flows: FLOW_DTYPE, shape (n,).
        keeps: shape (n, 2): whether the source and the destination keep their address. False for
            an absent address.

    Returns:
        FLOW_DTYPE, in the order of a message, each connection once, counts at most 2^64-1. All rows
        that keep neither address become one row without addresses, which is left out if it has no
        counts.

    Raises:
        MemoryError: there is no memory for sorting.
    """
    rows = _scrub(flows, keeps)
    rows = rows[_sorted(rows)]
    # Neighbours with equal first five words, as netlog_flow.h compares them, are one connection.
    words = rows.view(np.uint64).reshape(-1, FLOW_DTYPE.itemsize // 8)[:, :5]
    starts = np.flatnonzero(np.append(True, np.any(words[1:] != words[:-1], axis=1))[: len(rows)])
    together = rows[starts]
    for name in _COUNTERS:
        together[name] = _add_up(rows[name], starts)
    counted = np.any([together[name] for name in _COUNTERS], axis=0)
    result: FlowArray = together[counted | (together["version"] != 0)]
    return result


def _scrub(flows: FlowArray, keeps: npt.NDArray[np.bool_]) -> FlowArray:
    """Rows with only the kept addresses, in the form of `flow_array`, and the counts."""
    rows = np.zeros(len(flows), FLOW_DTYPE)
    families = []
    flags = np.zeros(len(flows), np.uint8)
    for column, (name, other, absent) in enumerate(
        (
            ("src", lib.NETLOG_SRC_OTHER, lib.NETLOG_NO_SRC),
            ("dst", lib.NETLOG_DST_OTHER, lib.NETLOG_NO_DST),
        )
    ):
        kept = keeps[:, column]
        family = np.where(
            flows["flags"] & other, _IPV4 + _IPV6 - flows["version"], flows["version"]
        )
        families.append(np.where(kept, family, 0).astype(np.uint8))
        flags[~kept] |= absent
        address = np.ascontiguousarray(flows[name]).view(np.uint8).reshape(-1, 16).copy()
        address[~kept] = 0
        # Only the last four bytes of an IPv4 address matter; give it the mapped form.
        ipv4 = families[-1] == _IPV4
        address[ipv4, :10] = 0
        address[ipv4, 10:12] = 0xFF
        rows[name] = address.view("V16")[:, 0]
    src, dst = families
    flags[(src != 0) & (dst != 0) & (src != dst)] |= lib.NETLOG_SRC_OTHER
    rows["version"] = np.where(dst, dst, src)
    rows["flags"] = flags
    for name in _COUNTERS:
        rows[name] = flows[name]
    return rows


def _sorted(rows: FlowArray) -> npt.NDArray[np.uint32]:
    order = np.empty(len(rows), np.uint32)
    result = lib.netlog_sort_flows(
        ffi.from_buffer("struct netlog_flow[]", rows),
        ffi.NULL,
        len(rows),
        ffi.from_buffer("uint32_t[]", order),
    )
    check(result, "sorting exit traffic")
    return order


def _add_up(counts: npt.NDArray[np.uint64], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """The sum of each run, at most 2^64-1. Both 32-bit halves are added apart, so neither wraps."""
    if not len(starts):
        return np.zeros(0, np.uint64)
    low = np.add.reduceat(counts & _LOW_MASK, starts)
    high = np.add.reduceat(counts >> _LOW_BITS, starts) + (low >> _LOW_BITS)
    total = high << _LOW_BITS | low & _LOW_MASK
    return np.where(high > _LOW_MASK, _MOST, total)
