"""The slow twin of csrc/packet/packet.c, written to the letter of DESIGN section 4, for clarity.

Where the text is silent, the twin holds to this:

* A packet is bounded by its own length field. Bytes beyond it belong to nothing, but count.
* An IPv6 chain that names a ninth extension header is malformed.
* A fragment other than the first counts under the next header of its fragment header, whatever that
  is. A fragment header at offset 0 with nothing more to come (RFC 6946) is a whole packet's.
* 50 (ESP) and 59 (no next header) end a chain. In IPv4, 0, 43, 51 and 60 are plain protocols.
* `gso_size` speaks of whole TCP and UDP packets and of nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "Connection",
    "Count",
    "Decoded",
    "NoConnectionError",
    "Reason",
    "count_datagram",
    "count_packet",
    "decode",
    "swapped",
]

TCP, UDP, FRAGMENT, AUTHENTICATION = 6, 17, 44, 51
WITH_PORTS = {TCP, UDP, 33, 132, 136}
EXTENSION_HEADERS = {0, 43, FRAGMENT, AUTHENTICATION, 60, 135, 139, 140}
MAX_EXTENSION_HEADERS = 8

Address = IPv4Address | IPv6Address


class Reason(enum.IntEnum):
    """Why a packet has no connection; the numbers are those of csrc/include/netlog.h."""

    MALFORMED = 0
    NOT_IP = 1
    TABLE_FULL = 2


@dataclass(frozen=True, slots=True)
class Connection:
    """A 5-tuple, as the packet has it; a datagram's has no source and protocol 0."""

    version: int
    proto: int
    src: Address | None
    dst: Address | None
    src_port: int
    dst_port: int


@dataclass(frozen=True, slots=True)
class Count:
    """What one packet adds, and to what."""

    key: Connection | Reason
    packets: int
    byte_count: int


class NoConnectionError(Exception):
    """The packet has none."""


class _MalformedError(NoConnectionError):
    """The packet is shorter than it announces, or contradicts itself."""


class _NotIpError(NoConnectionError):
    """The packet is of neither version."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A packet's headers up to the upper layer's."""

    connection: Connection
    whole: bool  # not a fragment
    upper: int  # where the upper-layer header starts


def swapped(connection: Connection) -> Connection:
    """Turn a connection round: a received packet counts under this."""
    return Connection(
        version=connection.version,
        proto=connection.proto,
        src=connection.dst,
        dst=connection.src,
        src_port=connection.dst_port,
        dst_port=connection.src_port,
    )


def count_packet(packet: bytes, *, rx: bool = False, gso_size: int = 0) -> Count:
    """Decode a packet, segment it if it is a super-packet, and say what to count."""
    try:
        decoded, own = decode(packet)
        segments = _segments(decoded, own, gso_size)
    except _MalformedError:
        return Count(Reason.MALFORMED, 1, len(packet))
    except _NotIpError:
        return Count(Reason.NOT_IP, 1, len(packet))
    beyond = len(packet) - len(own)
    connection = swapped(decoded.connection) if rx else decoded.connection
    return Count(connection, len(segments), sum(map(len, segments)) + beyond)


def count_datagram(remote: Address, port: int, payload_bytes: int, *, gso_size: int = 0) -> Count:
    """Split a UDP payload as UDP_SEGMENT does, and say what to count for the remote endpoint."""
    whole = bytes(payload_bytes)
    parts = _chunks(whole, gso_size) if gso_size else [whole]
    connection = Connection(remote.version, 0, None, remote, 0, port)
    return Count(connection, len(parts), sum(map(len, parts)))


def decode(packet: bytes, *, with_ports: bool = True) -> tuple[Decoded, bytes]:
    """Find the connection, and the bytes that are the packet's own.

    `with_ports`: the ports must be there, where the protocol has them.

    Raises:
        NoConnectionError: there is none.
    """
    if not packet:
        raise _MalformedError
    version = packet[0] >> 4
    if version == 4:
        return _decode_ipv4(packet, with_ports)
    if version == 6:
        return _decode_ipv6(packet, with_ports)
    raise _NotIpError


def _decode_ipv4(packet: bytes, with_ports: bool) -> tuple[Decoded, bytes]:  # noqa: FBT001 - inside
    header_bytes = (packet[0] & 0x0F) * 4
    if header_bytes < 20:
        raise _MalformedError
    _take(packet, 0, header_bytes)
    total_length = _number(packet, 2, 2)
    if total_length < header_bytes:
        raise _MalformedError
    own = _take(packet, 0, total_length)
    flags_and_offset = _number(own, 6, 2)
    more, offset = flags_and_offset & 0x2000, flags_and_offset & 0x1FFF
    proto = own[9]
    ports = (0, 0) if offset or not with_ports else _ports(own, header_bytes, proto)
    src, dst = IPv4Address(own[12:16]), IPv4Address(own[16:20])
    connection = Connection(4, proto, src, dst, *ports)
    return Decoded(connection, not more and not offset, header_bytes), own


def _decode_ipv6(packet: bytes, with_ports: bool) -> tuple[Decoded, bytes]:  # noqa: FBT001 - inside
    _take(packet, 0, 40)
    own = _take(packet, 0, 40 + _number(packet, 4, 2))
    src, dst = IPv6Address(own[8:24]), IPv6Address(own[24:40])
    proto, at, whole = own[6], 40, True
    for _ in range(MAX_EXTENSION_HEADERS):
        if proto not in EXTENSION_HEADERS:
            break
        header = proto
        proto = _number(own, at, 1)
        if header == FRAGMENT:
            _take(own, at, 8)
            offset, more = _number(own, at + 2, 2) >> 3, own[at + 3] & 1
            whole = whole and not offset and not more
            if offset:
                return Decoded(Connection(6, proto, src, dst, 0, 0), whole, at + 8), own
        at += _extension_bytes(own, at, header)
    if proto in EXTENSION_HEADERS:
        raise _MalformedError
    ports = _ports(own, at, proto) if with_ports else (0, 0)
    connection = Connection(6, proto, src, dst, *ports)
    return Decoded(connection, whole, at), own


def _extension_bytes(own: bytes, at: int, header: int) -> int:
    """Measure the extension header at `at`, all of which must be there."""
    length = _number(own, at + 1, 1)
    if header == FRAGMENT:
        size = 8
    elif header == AUTHENTICATION:
        size = (length + 2) * 4
    else:
        size = (length + 1) * 8
    return len(_take(own, at, size))


def _ports(own: bytes, at: int, proto: int) -> tuple[int, int]:
    if proto not in WITH_PORTS:
        return 0, 0
    return _number(own, at, 2), _number(own, at + 2, 2)


def _segments(decoded: Decoded, own: bytes, gso_size: int) -> list[bytes]:
    """Cut `own` into the packets on the wire, but for what segmenting writes into headers."""
    proto = decoded.connection.proto
    if not gso_size or not decoded.whole or proto not in (TCP, UDP):
        return [own]
    if proto == UDP:
        header_bytes = 8
    else:
        header_bytes = (_number(own, decoded.upper + 12, 1) >> 4) * 4
        if header_bytes < 20:
            raise _MalformedError
    headers = _take(own, 0, decoded.upper + header_bytes)
    return [headers + part for part in _chunks(own[len(headers) :], gso_size)]


def _chunks(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_take(data, at, size), "big")


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise _MalformedError
    return data[at : at + size]
