"""Flow rows, as they leave a meter: each is a connection with its counts in both directions."""

import socket
import struct
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from netlog._native import lib
from netlog.model.addresses import MAPPED

__all__ = ["FLOW_DTYPE", "NO_FLOWS", "FlowArray", "FlowRow", "as_flow_array", "flow_array"]

FLOW_DTYPE = np.dtype(
    [
        ("src", "V16"),
        ("dst", "V16"),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("version", np.uint8),
        ("proto", np.uint8),
        ("flags", np.uint8),
        ("reserved", np.uint8),
        ("tx_packets", np.uint64),
        ("tx_bytes", np.uint64),
        ("rx_packets", np.uint64),
        ("rx_bytes", np.uint64),
    ]
)
"""One connection: 72 bytes, `struct netlog_flow` of csrc/include/netlog_flow.h.

`src` and `dst` are 16 raw bytes in network order; IPv4 is in mapped form. Ports are in host order.
`version` is 4 or 6, or 0 if there are no addresses. `flags` is 0 for a plain connection. Its bits
say that an address is absent or of the other family (`NETLOG_NO_SRC` and the bits beside it).
"""

FlowArray: TypeAlias = npt.NDArray[np.void]
NO_FLOWS: FlowArray = np.zeros(0, FLOW_DTYPE)
NO_FLOWS.flags.writeable = False
FlowRow: TypeAlias = tuple[int, str, str, int, int, int, int]

_ROW = struct.Struct("=16s16sHHBBBBQQQQ")  # the fields of FLOW_DTYPE, which has no padding
_NO_ADDRESS = (0, bytes(16), 0)
_MAX_PORT = 0xFFFF
_ALIGNMENT = 8  # of struct netlog_flow
_PORT_DIGITS = 5


def flow_array(rows: Iterable[FlowRow]) -> FlowArray:
    """Make flow rows from text.

    Args:
        rows: tuples `(proto, src, dst, tx_packets, tx_bytes, rx_packets, rx_bytes)`. `src` and
            `dst` are `a.b.c.d:port` or `[v6]:port`, or "" for an absent address. `proto` is
            0..255. Each counter is 0..2^64-1.

    Returns:
        An array of FLOW_DTYPE, shape (n,), in the given order. The version of a row is that of its
        destination; without a destination, that of its source; without both, 0.

    Raises:
        ValueError: a row is not such a tuple. The text has the number of the row, from 0.

    Thread safety: any thread.
    """
    packed = bytearray()
    for number, row in enumerate(rows):
        try:
            packed += _pack_row(*row)
        except (TypeError, ValueError, struct.error) as error:
            raise ValueError(f"row {number}: {error}") from error
    return np.frombuffer(packed, FLOW_DTYPE)


def as_flow_array(rows: object, name: str) -> FlowArray:
    """Check that an argument is an array of flow rows that the core can read.

    Args:
        rows: FLOW_DTYPE, shape (n,); None: no rows.
        name: the name of the argument in errors.

    Returns:
        `rows`; a copy if it is not contiguous, or does not begin at a multiple of 8 bytes.

    Raises:
        TypeError: `rows` is not an array of FLOW_DTYPE.
        ValueError: `rows` does not have exactly one dimension.
    """
    if rows is None:
        return np.empty(0, FLOW_DTYPE)
    if not isinstance(rows, np.ndarray) or rows.dtype != FLOW_DTYPE:
        raise TypeError(f"{name}: expected an array of FLOW_DTYPE or None")
    if rows.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got {rows.ndim}")
    whole = np.ascontiguousarray(rows)
    return whole if whole.ctypes.data % _ALIGNMENT == 0 else whole.copy()


def _pack_row(  # noqa: PLR0913, PLR0917 - the seven members of a row
    proto: int, src: str, dst: str, tx_packets: int, tx_bytes: int, rx_packets: int, rx_bytes: int
) -> bytes:
    src_version, src_bytes, src_port = _parse_endpoint(src)
    dst_version, dst_bytes, dst_port = _parse_endpoint(dst)
    flags = 0
    if not src_version:
        flags |= lib.NETLOG_NO_SRC
    elif dst_version and src_version != dst_version:
        flags |= lib.NETLOG_SRC_OTHER
    if not dst_version:
        flags |= lib.NETLOG_NO_DST
    version = dst_version or src_version
    # fmt: off
    return _ROW.pack(
        src_bytes, dst_bytes, src_port, dst_port, version, proto, flags, 0,
        tx_packets, tx_bytes, rx_packets, rx_bytes,
    )
    # fmt: on


def _parse_endpoint(text: str) -> tuple[int, bytes, int]:
    """The version, 16 bytes and port of `a.b.c.d:port`, `[v6]:port` or ""."""
    if not isinstance(text, str):
        raise TypeError(f"expected an address as text, got {text!r}")
    if not text:
        return _NO_ADDRESS
    host, colon, digits = text.rpartition(":")
    if not colon or not (digits.isascii() and digits.isdigit()) or len(digits) > _PORT_DIGITS:
        raise ValueError(f"{text!r}: expected address:port")
    port = int(digits)
    if port > _MAX_PORT:
        raise ValueError(f"{text!r}: expected a port from 0 to {_MAX_PORT}")
    try:
        if host.startswith("[") and host.endswith("]"):
            return 6, socket.inet_pton(socket.AF_INET6, host[1:-1]), port
        return 4, MAPPED + socket.inet_pton(socket.AF_INET, host), port
    except OSError:
        raise ValueError(f"{text!r}: expected a.b.c.d:port or [v6]:port") from None
