"""The JSON of entries, against json and ipaddress."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netlog import FLOW_DTYPE, flow_array
from netlog._native import ffi, lib
from netlog.messages.header import MAX_ENTRY_BYTES
from tests.support import flow_strategies as r

if TYPE_CHECKING:
    from netlog.model.flows import FlowArray

LONGEST = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
GUARD = b"#" * 64


def encode(flows: FlowArray, capacity: int, order: list[int] | None = None) -> tuple[bytes, int]:
    """The text that the core writes, and how many entries are in it; nothing beyond is written."""
    room = bytearray(b"\0" * capacity + GUARD)
    encoded = ffi.new("size_t *")
    count = len(flows) if order is None else len(order)
    ends = ffi.new("uint64_t[]", count)
    numbers = np.array(order if order is not None else [], np.uint32)
    used = lib.netlog_encode_flows(
        ffi.from_buffer("struct netlog_flow[]", flows),
        ffi.NULL if order is None else ffi.from_buffer("uint32_t[]", numbers),
        count,
        ffi.from_buffer("char[]", room),
        capacity,
        encoded,
        ends,
    )
    assert used <= capacity
    assert room[capacity:] == GUARD
    starts = [0, *(end + 1 for end in ends[0 : max(encoded[0], 1) - 1])]
    for start, end in zip(starts, ends[0 : encoded[0]], strict=False):
        assert isinstance(json.loads(room[start:end]), dict)  # an entry, without the comma
    return bytes(room[:used]), encoded[0]


def slow_encode(flows: FlowArray) -> list[bytes]:
    """The same by json.dumps."""
    return [json.dumps(r.entry_of(row), separators=(",", ":")).encode() for row in flows]


@given(r.row_lists)
def test_is_json_dumps(rows: list[Any]) -> None:
    """Entries are what json.dumps and ipaddress write, byte for byte."""
    flows = flow_array(rows)
    text, encoded = encode(flows, 300 * len(rows) + 300)
    assert encoded == len(rows)
    assert text == b",".join(slow_encode(flows))


@given(st.binary(min_size=FLOW_DTYPE.itemsize, max_size=FLOW_DTYPE.itemsize))
def test_any_bytes_are_json(data: bytes) -> None:
    """Whatever a row's bytes are, its entry is a JSON object of bounded length."""
    text, encoded = encode(np.frombuffer(data, FLOW_DTYPE), 1000)
    assert encoded == 1
    assert len(text) < lib.netlog_encode_max_entry_bytes
    assert set(json.loads(text)) <= {
        *("proto", "src", "dst"),
        *("txPkts", "txBytes", "rxPkts", "rxBytes"),
    }


def test_longest_entry() -> None:
    """The constant is the length of the longest entry and a comma, exactly."""
    flows = flow_array([(255, LONGEST, LONGEST, r.U64, r.U64, r.U64, r.U64)])
    text, _ = encode(flows, 1000)
    assert len(text) + 1 == lib.netlog_encode_max_entry_bytes == MAX_ENTRY_BYTES
    assert text == slow_encode(flows)[0]


@given(r.row_lists, st.integers(0, 2000))
def test_stops_where_it_is_full(rows: list[Any], capacity: int) -> None:
    """As many entries as fit are written, each whole."""
    flows = flow_array(rows)
    entries = slow_encode(flows)
    fits = max(n for n in range(len(rows) + 1) if len(b",".join(entries[:n])) <= capacity)
    assert encode(flows, capacity) == (b",".join(entries[:fits]), fits)


@given(r.row_lists, st.randoms(use_true_random=False))
def test_order(rows: list[Any], random: Any) -> None:  # noqa: ANN401 - a Random
    """Rows are written in the order that is asked for."""
    flows = flow_array(rows)
    order = [random.randrange(len(rows)) for _ in rows]
    entries = slow_encode(flows)
    text, encoded = encode(flows, 300 * len(rows) + 300, order)
    assert (text, encoded) == (b",".join(entries[row] for row in order), len(rows))
