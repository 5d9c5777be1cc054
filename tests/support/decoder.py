"""The slow twin of csrc/packet/packet.c, written to the letter of DESIGN section 4, for clarity.

Where the text is silent, the twin holds to this:

* A packet is bounded by its own length field. Bytes beyond it belong to nothing, but count.
* An IPv6 chain that names a ninth extension header is malformed.
* A fragment other than the first counts under the next header of its fragment header, whatever that
  is. A fragment header at offset 0 with nothing more to come (RFC 6946) is a whole packet's.
* 50 (ESP) and 59 (no next header) end a chain. In IPv4, AH (51) is walked as in IPv6; 0, 43 and 60
  are plain protocols there.
* A length field of 0 stands for all bytes that came (BIG TCP, TSO). In IPv6 it does so if the next
  header is not 59 and a jumbo option says the length, or they are beyond 64 KiB, or TCP, or UDP by
  its own length field, fills them. Else the packet is its 40 bytes.
* The hop-by-hop header of 8 bytes that begins with a jumbo option is in no segment.
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
JUMBO_OPTION, NO_NEXT_HEADER = 0xC2, 59
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
    later: bool = False  # a fragment but the first


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
    total_length = _number(packet, 2, 2) or len(packet)
    if total_length < header_bytes:
        raise _MalformedError
    own = _take(packet, 0, total_length)
    flags_and_offset = _number(own, 6, 2)
    more, offset = flags_and_offset & 0x2000, flags_and_offset & 0x1FFF
    proto, at = own[9], header_bytes
    headers = 0
    while proto == AUTHENTICATION and not offset:
        headers += 1
        if headers > MAX_EXTENSION_HEADERS:
            raise _MalformedError
        proto, at = _number(own, at, 1), at + _extension_bytes(own, at, AUTHENTICATION)
    ports = (0, 0) if offset or not with_ports else _ports(own, at, proto)
    src, dst = IPv4Address(own[12:16]), IPv4Address(own[16:20])
    connection = Connection(4, proto, src, dst, *ports)
    return Decoded(connection, not more and not offset, at), own


def _decode_ipv6(packet: bytes, with_ports: bool) -> tuple[Decoded, bytes]:  # noqa: FBT001 - inside
    _take(packet, 0, 40)
    return _walk_ipv6(_take(packet, 0, _own_length_ipv6(packet)), with_ports)


def _own_length_ipv6(packet: bytes) -> int:
    payload, next_header = _number(packet, 4, 2), packet[6]
    if payload or next_header == NO_NEXT_HEADER:
        return 40 + payload
    jumbo = _jumbo_length(packet) if next_header == 0 else 0
    if jumbo:
        return 40 + jumbo
    if len(packet) - 40 > 0xFFFF:
        return len(packet)
    try:
        walked, _ = _walk_ipv6(packet, with_ports=False)
    except _MalformedError:
        return 40
    behind = len(packet) - walked.upper
    is_tcp = walked.connection.proto == TCP and behind >= 20
    is_udp = walked.connection.proto == UDP and behind >= 8
    if walked.later or not (is_tcp or (is_udp and _number(packet, walked.upper + 4, 2) == behind)):
        return 40
    return len(packet)


def _jumbo_length(packet: bytes) -> int:
    if len(packet) < 48:
        return 0
    options = packet[42 : 40 + (packet[41] + 1) * 8]
    while len(options) >= 2:
        if options[0] == 0:
            options = options[1:]
            continue
        if options[0] == JUMBO_OPTION and options[1] == 4 and len(options) >= 6:
            return int.from_bytes(options[2:6], "big")
        options = options[2 + options[1] :]
    return 0


def _walk_ipv6(own: bytes, with_ports: bool) -> tuple[Decoded, bytes]:  # noqa: FBT001 - inside
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
                return Decoded(Connection(6, proto, src, dst, 0, 0), whole, at + 8, later=True), own
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
    parts = _chunks(own[len(headers) :], gso_size)
    if len(parts) > 1 and _has_jumbo_header(own):
        headers = headers[:40] + headers[48:]
    return [headers + part for part in parts]


def _has_jumbo_header(own: bytes) -> bool:
    return own[0] >> 4 == 6 and own[4:7] == bytes(3) and own[41:43] == bytes([0, JUMBO_OPTION])


def _chunks(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(_take(data, at, size), "big")


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise _MalformedError
    return data[at : at + size]
