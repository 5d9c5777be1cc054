"""Many packets at once, each a connection of its own, and how a meter counts them."""

import numpy as np
import numpy.typing as npt

from netlog._native import ffi, lib
from netlog.meter.meter import Meter

Packets = npt.NDArray[np.uint8]
PACKET_BYTES = 28


def packets(numbers: np.ndarray, *, outside: bool = False) -> Packets:
    """A UDP packet of each connection: uint8, shape (n, 28); `outside` goes to no route."""
    rows = np.zeros((len(numbers), PACKET_BYTES), np.uint8)
    rows[:, 0], rows[:, 3], rows[:, 9] = 0x45, PACKET_BYTES, 17
    rows[:, 12:16] = (100, 64, 0, 1)
    rows[:, 16:20] = (8, 8, 8, 8) if outside else (100, 64, 0, 2)
    rows[:, 20:24] = np.ascontiguousarray(numbers, ">u4").view(np.uint8).reshape(-1, 4)
    rows[:, 25] = 8
    return rows


def count(meter: Meter, data: Packets, *, rx: bool = False, lane: object = None) -> None:
    """Count packets; on the meter's own lane, or on another one."""
    if rx:  # as it comes from the other end
        data = np.hstack(
            (
                data[:, :12],
                data[:, 16:20],
                data[:, 12:16],
                data[:, 22:24],
                data[:, 20:22],
                data[:, 24:],
            )
        )
    offsets = np.arange(len(data), dtype=np.uint64) * PACKET_BYTES
    lengths = np.full(len(data), PACKET_BYTES, np.uint64)
    data = np.ascontiguousarray(data)
    if lane is None:
        meter.update_batch(data, offsets, lengths, rx=rx)
        return
    span = ffi.new("struct netlog_span *")
    span.data, span.bytes = ffi.from_buffer("uint8_t[]", data), data.size
    span.offsets.data = ffi.from_buffer("uint64_t[]", offsets)
    span.lengths.data = ffi.from_buffer("uint64_t[]", lengths)
    span.n, span.direction = len(data), lib.NETLOG_RX if rx else lib.NETLOG_TX
    assert lib.netlog_lane_count_span(lane, span) == 0
