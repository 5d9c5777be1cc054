"""Remote UDP endpoints: as text, as (host, port), and as the rows that the core reads."""

import ipaddress
import socket
import struct
from typing import TypeAlias

import numpy as np

__all__ = ["ENDPOINT_DTYPE"]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_PORT = 65535

ENDPOINT_DTYPE = np.dtype(
    [
        ("address", "V16"),
        ("port", np.uint16),
        ("version", np.uint8),
        ("reserved", np.uint8),
        ("scope_id", np.uint32),
    ]
)
"""One remote endpoint: 24 bytes, `struct netlog_endpoint` of csrc/batch.h.

`address` is 16 raw bytes in network order, IPv4 in mapped form with `version` 4; `port` is in host
order; `scope_id` is the interface's number for a link-local address, else 0.
"""

_LAYOUT = struct.Struct("=16sHBBI")
_MAPPED = bytes(10) + b"\xff\xff"


def parse_address(host: str) -> IPAddress:
    """Read an IP address; an IPv4-mapped one is IPv4. Names are not looked up.

    Raises:
        ValueError: it is none.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r}: expected an IPv4 or IPv6 address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def check_port(port: int) -> int:
    """Return `port` if it is 0 to 65535.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"port {port}: expected 0 to {MAX_PORT}")
    return port


def split_endpoint(text: str, *, least_port: int = 1) -> tuple[IPAddress, int]:
    """Read "a.b.c.d:port" or "[v6]:port".

    Raises:
        ValueError: it has another form, or the port is below `least_port`.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not (port.isascii() and port.isdigit()) or (":" in host) is not bracketed:
        raise ValueError(f"{text!r}: expected address:port, with an IPv6 address in brackets")
    if not least_port <= int(port) <= MAX_PORT:
        raise ValueError(f"{text!r}: expected a port from {least_port} to {MAX_PORT}")
    return parse_address(host), int(port)


def join_endpoint(host: str, port: int) -> str:
    """Write (host, port) as "a.b.c.d:port" or "[v6]:port"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pack_endpoint(address: IPAddress, port: int) -> bytes:
    """Lay an endpoint out as a row of ENDPOINT_DTYPE.

    Raises:
        ValueError: the address names an interface (fe80::1%eth0) that there is not.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return _LAYOUT.pack(_MAPPED + address.packed, port, 4, 0, 0)
    return _LAYOUT.pack(address.packed, port, 6, 0, _scope_number(address))


def unpack_endpoint(row: bytes) -> tuple[str, int]:
    """Read a row of ENDPOINT_DTYPE back as (host, port)."""
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
        raise ValueError(f"{address}: there is no interface {scope!r}") from None
