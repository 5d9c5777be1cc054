"""Remote UDP endpoints as rows in the core's form."""

import ipaddress
import socket
import struct

import numpy as np

from netlog.model.addresses import IPAddress, mapped

__all__ = ["ENDPOINT_DTYPE", "pack_endpoint", "unpack_endpoint"]

ENDPOINT_DTYPE = np.dtype(
    [
        ("address", "V16"),
        ("port", np.uint16),
        ("version", np.uint8),
        ("reserved", np.uint8),
        ("scope_id", np.uint32),
    ]
)
"""One remote endpoint: 24 bytes, `struct netlog_endpoint` of csrc/io/batch.h.

`address` is 16 raw bytes in network order; IPv4 is in mapped form, with `version` 4. `port` is in
host order. `scope_id` is the interface's number for a link-local address, otherwise 0.
"""

_LAYOUT = struct.Struct("=16sHBBI")


def pack_endpoint(address: IPAddress, port: int) -> bytes:
    """Pack an endpoint into a row of ENDPOINT_DTYPE.

    Raises:
        ValueError: the address names an interface (fe80::1%eth0) that does not exist.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return _LAYOUT.pack(mapped(address), port, 4, 0, 0)
    return _LAYOUT.pack(address.packed, port, 6, 0, _scope_number(address))


def unpack_endpoint(row: bytes) -> tuple[str, int]:
    """Unpack a row of ENDPOINT_DTYPE into (host, port)."""
    packed, port, version, _, scope_id = _LAYOUT.unpack(row)
    if version == 4:  # noqa: PLR2004 - the IP version
        return str(ipaddress.IPv4Address(packed[12:])), port
    host = str(ipaddress.IPv6Address(packed))
    return (f"{host}%{scope_id}" if scope_id else host), port


def _scope_number(address: ipaddress.IPv6Address) -> int:
    scope = address.scope_id
    if scope is None:
        return 0
    if scope.isascii() and scope.isdigit():
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except OSError:
        raise ValueError(f"{address}: no such interface: {scope!r}") from None
