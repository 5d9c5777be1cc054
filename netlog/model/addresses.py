"""IP addresses, ports and endpoints as text."""

import ipaddress
import re
from typing import TypeAlias

__all__ = [
    "MAPPED",
    "MAX_PORT",
    "IPAddress",
    "check_port",
    "join_endpoint",
    "mapped",
    "parse_address",
    "split_endpoint",
    "split_place",
]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_PORT = 65535
LOCALHOST = "localhost"

_HOST_PORT = re.compile(r"(\[[^\]/]*\]|[^:/]*):([0-9]{1,5})")

MAPPED = bytes(10) + b"\xff\xff"
"""The bytes before an IPv4 address in its IPv4-mapped IPv6 form (RFC 4291, 2.5.5.2)."""


def mapped(address: IPAddress) -> bytes:
    """An address as 16 bytes in network order; an IPv4 address in its IPv4-mapped form."""
    packed = address.packed
    return packed if isinstance(address, ipaddress.IPv6Address) else MAPPED + packed


def parse_address(host: str) -> IPAddress:
    """Read an IP address. An IPv4-mapped address becomes IPv4. Names are not resolved.

    Raises:
        ValueError: `host` is not an IP address.
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
        ValueError: it is outside this range.
    """
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"port {port}: expected 0 to {MAX_PORT}")
    return port


def split_endpoint(text: str, *, least_port: int = 1) -> tuple[IPAddress, int]:
    """Read "a.b.c.d:port" or "[v6]:port".

    Raises:
        ValueError: the text has another form, or the port is below `least_port`.
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


def split_place(at: str) -> tuple[str, int] | None:
    """Read "host:port", where host is an IP address or `localhost`; None: the text is a path.

    Raises:
        ValueError: the text is empty, or its address or port is wrong.
    """
    found = _HOST_PORT.fullmatch(at)
    if found is None:
        if not at:
            raise ValueError("expected host:port, or the path of a socket or a status file")
        return None
    host = "127.0.0.1" if found[1] == LOCALHOST else found[1].strip("[]")
    if not 1 <= int(found[2]) <= MAX_PORT:
        raise ValueError(f"{at!r}: expected a port from 1 to {MAX_PORT}")
    return str(parse_address(host)), int(found[2])
