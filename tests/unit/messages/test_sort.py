"""The order of entries, against Python's sort by addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog import FLOW_DTYPE, flow_array
from netlog._native import ffi, lib
from tests.support import flow_strategies as r

if TYPE_CHECKING:
    from netlog.model.flows import FlowArray


def core_sort(flows: FlowArray, classes: Any = None) -> list[int]:  # noqa: ANN401 - uint8 or None
    """The permutation that the core makes."""
    order = np.empty(len(flows), np.uint32)
    result = lib.netlog_sort_flows(
        ffi.from_buffer("struct netlog_flow[]", flows),
        ffi.NULL if classes is None else ffi.from_buffer("uint8_t[]", classes),
        len(flows),
        ffi.from_buffer("uint32_t[]", order),
    )
    assert result == 0
    return [int(row) for row in order]


@given(r.row_lists, st.randoms(use_true_random=False))
def test_is_python_s_sort(rows: list[Any], random: Any) -> None:  # noqa: ANN401 - a Random
    """Rows are sorted by class, source, destination and protocol; equal ones stay in order."""
    flows = flow_array(rows + rows[:3])
    classes = np.array([random.randrange(3) for _ in flows], np.uint8)
    by_key = sorted(range(len(flows)), key=lambda row: r.sort_key(flows[row]))
    assert core_sort(flows) == by_key
    by_class = sorted(by_key, key=lambda row: int(classes[row]))
    # sorted() is stable, so sorting by the lesser key first gives both
    assert core_sort(flows, classes) == by_class


@given(st.binary(max_size=40 * FLOW_DTYPE.itemsize))
def test_any_bytes(data: bytes) -> None:
    """Rows that are no rows, with versions and flags of any value, are sorted likewise."""
    whole = len(data) // FLOW_DTYPE.itemsize * FLOW_DTYPE.itemsize
    flows = np.frombuffer(data[:whole], FLOW_DTYPE).copy()
    flows["version"] = np.array([0, 4, 6, 4, 6, 5])[flows["version"] % 6]
    by_key = sorted(range(len(flows)), key=lambda row: r.sort_key(flows[row]))
    assert core_sort(flows) == by_key


@pytest.mark.parametrize("left_out", [0, 1, 7, 20])
def test_left_out_rows_come_last(left_out: int) -> None:
    """Rows of the class NETLOG_LEFT_OUT are behind all others."""
    flows = flow_array([(6, f"10.0.0.{20 - n}:1", "1.1.1.1:1", 1, 0, 0, 0) for n in range(20)])
    classes = np.zeros(20, np.uint8)
    classes[20 - left_out :] = lib.NETLOG_LEFT_OUT
    order = core_sort(flows, classes)
    assert order[: 20 - left_out] == list(range(19 - left_out, -1, -1))
    assert sorted(order[20 - left_out :]) == list(range(20 - left_out, 20))


@pytest.mark.parametrize("families", ["4", "6", "46"])
@pytest.mark.parametrize("distinct", [2, 50, 2**32])
def test_large(families: str, distinct: int) -> None:
    """Twenty thousand rows, with few or many distinct addresses, are in order."""
    rng = np.random.default_rng(7)
    n = 20_000
    flows = np.zeros(n, FLOW_DTYPE)
    for name in ("src", "dst"):
        raw = np.zeros((n, 16), np.uint8)
        raw[:, 10:12] = 0xFF
        raw[:, 12:] = (
            rng.integers(0, distinct, n, dtype=np.uint64).astype(">u4")[:, None].view("u1")
        )
        flows[name] = raw.view("V16")[:, 0]
    flows["version"] = [int(family) for family in (families * n)[:n]]
    flows["src_port"] = rng.integers(0, min(distinct, 65536), n)
    order = core_sort(flows)
    assert order == sorted(range(n), key=lambda row: _plain_key(flows, row))


def _plain_key(flows: FlowArray, row: int) -> tuple[Any, ...]:
    """The key of a row with two addresses of its version, quicker than by ipaddress."""
    version = int(flows["version"][row])
    return (
        version,
        flows["src"][row].tobytes(),
        int(flows["src_port"][row]),
        flows["dst"][row].tobytes(),
    )
