"""Flow rows: text in, the core's bytes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from netlog import FLOW_DTYPE, flow_array
from netlog._native import ffi
from netlog.model.flows import as_flow_array
from tests.support import flow_strategies as r

MAPPED = bytes(10) + b"\xff\xff"


def test_dtype_is_the_core_s_struct() -> None:
    """A row has the size of struct netlog_flow."""
    assert FLOW_DTYPE.itemsize == ffi.sizeof("struct netlog_flow") == 72


@pytest.mark.parametrize(
    ("src", "dst", "version", "flags"),
    [
        ("1.2.3.4:5", "6.7.8.9:10", 4, 0),
        ("[::1]:5", "[fd00::2]:10", 6, 0),
        ("", "6.7.8.9:10", 4, r.NO_SRC),
        ("1.2.3.4:5", "", 4, r.NO_DST),
        ("[::1]:5", "", 6, r.NO_DST),
        ("", "", 0, r.NO_SRC | r.NO_DST),
        ("1.2.3.4:5", "[fd00::2]:10", 6, r.SRC_OTHER),
        ("[::1]:5", "6.7.8.9:10", 4, r.SRC_OTHER),
    ],
)
def test_version_and_flags(src: str, dst: str, version: int, flags: int) -> None:
    """A row has the version of its destination, and flags for what does not fit it."""
    row = flow_array([(6, src, dst, 1, 2, 3, 4)])[0]
    assert (row["version"], row["flags"], row["reserved"]) == (version, flags, 0)


def test_bytes_of_a_row() -> None:
    """IPv4 is mapped, ports are numbers, what is absent is 0."""
    first, second = flow_array(
        [(17, "100.64.0.1:443", "[2001:db8::1]:53", 1, 2, 3, r.U64), (0, "", "", 0, 0, 0, 9)]
    )
    assert first["src"].tobytes() == MAPPED + bytes([100, 64, 0, 1])
    assert first["dst"].tobytes() == bytes.fromhex("20010db8" + "00" * 11 + "01")
    assert (first["src_port"], first["dst_port"], first["proto"]) == (443, 53, 17)
    counts = [first[name] for name in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")]
    assert counts == [1, 2, 3, r.U64]
    assert second["src"].tobytes() == second["dst"].tobytes() == bytes(16)


def test_mapped_ipv6_is_ipv6() -> None:
    """[::ffff:a.b.c.d] is version 6 with the bytes of a.b.c.d."""
    row = flow_array([(6, "[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5", 1, 0, 0, 0)])[0]
    assert row["version"] == 6
    assert row["src"].tobytes() == MAPPED + bytes([1, 2, 3, 4])


def test_empty() -> None:
    """No rows are an array of no rows, and a generator will do."""
    nothing: list[Any] = []
    assert flow_array(row for row in nothing).shape == (0,)
    assert flow_array([]).dtype == FLOW_DTYPE


@given(r.row_lists)
def test_reads_back(rows: list[Any]) -> None:
    """What is in a row is what was said."""
    array = flow_array(rows)
    assert array.shape == (len(rows),)
    for row, said in zip(array, rows, strict=True):
        ends = tuple(r.endpoint_text(end) for end in r.read_endpoints(row))
        counts = tuple(int(row[n]) for n in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes"))
        assert (int(row["proto"]), *ends, *counts) == said


@pytest.mark.parametrize(
    "bad",
    [
        (6, "1.2.3.4", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:65536", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:-1", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:+1", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:\u0661", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:000001", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:", "1.2.3.4:5", 1, 2, 3, 4),
        (6, ":5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.04:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "::1:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "[1.2.3.4]:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "[fe80::1%eth0]:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "[::1:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, None, "1.2.3.4:5", 1, 2, 3, 4),
        (6, 7, "1.2.3.4:5", 1, 2, 3, 4),
        (6, b"1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "a\0b:5", "1.2.3.4:5", 1, 2, 3, 4),
        (256, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, 4),
        (-1, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, 4),
        (6, "1.2.3.4:5", "1.2.3.4:5", -1, 2, 3, 4),
        (6, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, r.U64 + 1),
        (6, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, 1.5),
        (6, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3),
        (6, "1.2.3.4:5", "1.2.3.4:5", 1, 2, 3, 4, 5),
        6,
    ],
    ids=repr,
)
def test_bad_row_is_named(bad: Any) -> None:  # noqa: ANN401 - what is not a row
    """A row that is none raises ValueError with its number."""
    good = (6, "1.2.3.4:5", "", 1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"^row 2: "):
        flow_array([good, good, bad])


def test_as_flow_array() -> None:
    """None is empty, strides and odd addresses are copied, anything else is refused by name."""
    rows = flow_array([(6, "1.2.3.4:5", "", n, 0, 0, 0) for n in range(4)])
    assert len(as_flow_array(None, "tun")) == 0
    assert as_flow_array(rows, "tun") is rows
    sparse = as_flow_array(rows[::2], "tun")
    assert sparse.flags.c_contiguous
    assert list(sparse["tx_packets"]) == [0, 2]
    shifted = np.frombuffer(b"x" + rows.tobytes(), FLOW_DTYPE, offset=1)
    assert {as_flow_array(array, "tun").ctypes.data % 8 for array in (rows, shifted)} == {0}
    assert as_flow_array(shifted, "tun").tobytes() == rows.tobytes()
    wrongs: list[Any] = [[], np.zeros(3), "x", rows["src"]]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=r"^sock: "):
            as_flow_array(wrong, "sock")
    with pytest.raises(ValueError, match="one dimension"):
        as_flow_array(rows.reshape(2, 2), "tun")
