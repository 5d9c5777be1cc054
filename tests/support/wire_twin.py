"""The slow twin of csrc/gso/segment.c: what a packet with a virtio header is on the wire.

Only what the header and the packet agree about is segmented:

* A super-packet is a whole TCP or UDP packet of the header's type, not a fragment, with nothing
  behind it, with a payload, and with its checksum left to do where its protocol has it. Its headers
  are 256 bytes at most. SYN and RST are in no super-packet.
* A packet of its own may have a checksum left to do, which lies behind its IP headers.
* Everything else cannot be, and is nothing on the wire.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.support.decoder import TCP, UDP, NoConnectionError, decode
from tests.support.offloads import NEEDS_CSUM, NONE, TCPV4, TCPV6, UDP_L4

if TYPE_CHECKING:
    from tests.support.decoder import Decoded
    from tests.support.offloads import Super

__all__ = ["on_wire"]

MAX_HEADERS = 256
CHECKSUM_AT = {TCP: 16, UDP: 6}
TYPES = {(4, TCP): TCPV4, (6, TCP): TCPV6, (4, UDP): UDP_L4, (6, UDP): UDP_L4}
FIN, SYN, RST, PSH, CWR = 1, 2, 4, 8, 0x80


def on_wire(whole: Super) -> list[bytes] | None:
    """Return the packets that go on the wire, or None if the virtio header cannot be."""
    vnet, packet = whole.vnet, whole.packet
    if vnet.hdr_len > len(packet):
        return None
    if vnet.gso_type == NONE and not vnet.flags & NEEDS_CSUM:
        return [packet]
    try:
        decoded, own = decode(packet, with_ports=False)
    except NoConnectionError:
        return None
    if own != packet or not decoded.whole:
        return None
    return _completed(whole, decoded) if vnet.gso_type == NONE else _segments(whole, decoded)


def _completed(whole: Super, decoded: Decoded) -> list[bytes] | None:
    vnet, packet = whole.vnet, whole.packet
    at = vnet.csum_start + vnet.csum_offset
    own = CHECKSUM_AT.get(decoded.connection.proto, vnet.csum_offset)
    if vnet.csum_start < decoded.upper or at + 2 > len(packet):
        return None
    if vnet.csum_start == decoded.upper and vnet.csum_offset != own:
        return None
    checksum = _complement(_sum(packet[vnet.csum_start :])) or 0xFFFF
    return [packet[:at] + struct.pack("!H", checksum) + packet[at + 2 :]]


def _segments(whole: Super, decoded: Decoded) -> list[bytes] | None:
    vnet, packet, start = whole.vnet, whole.packet, decoded.upper
    version, proto = decoded.connection.version, decoded.connection.proto
    if TYPES.get((version, proto)) != vnet.gso_type:
        return None
    header_bytes = 8
    if proto == TCP:
        header_bytes = (packet[start + 12] >> 4) * 4 if len(packet) >= start + 20 else 0
    above = packet[start:]
    end = start + header_bytes
    possible = (
        header_bytes >= (20 if proto == TCP else 8)
        and end < len(packet)
        and end <= MAX_HEADERS
        and (proto == UDP or not above[13] & (SYN | RST))
        and (proto == TCP or struct.unpack_from("!H", above, 4)[0] == len(above))
        and vnet.gso_size > 0
        and vnet.flags & NEEDS_CSUM
        and (vnet.csum_start, vnet.csum_offset) == (start, CHECKSUM_AT[proto])
    )
    if not possible:
        return None
    payload, size = packet[end:], vnet.gso_size
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    return [
        _segment(packet[:end], start, pieces, i, size * i, len(above)) for i in range(len(pieces))
    ]


def _segment(
    headers: bytes, start: int, pieces: list[bytes], i: int, offset: int, above_bytes: int
) -> bytes:
    ip, upper = bytearray(headers[:start]), bytearray(headers[start:])
    is_tcp = len(upper) != 8
    length = len(upper) + len(pieces[i])
    if ip[0] >> 4 == 4:
        (identification,) = struct.unpack_from("!H", ip, 4)
        struct.pack_into("!HH", ip, 2, start + length, (identification + i) & 0xFFFF)
        ip[10:12] = b"\0\0"
        struct.pack_into("!H", ip, 10, _complement(_sum(bytes(ip))))
    else:
        struct.pack_into("!H", ip, 4, start + length - 40)
    if is_tcp:
        (sequence,) = struct.unpack_from("!I", upper, 4)
        struct.pack_into("!I", upper, 4, (sequence + offset) & 0xFFFFFFFF)
        upper[13] &= ~(CWR if i else 0) & ~(FIN | PSH if i + 1 < len(pieces) else 0) & 0xFF
    else:
        struct.pack_into("!H", upper, 4, length)
    at = CHECKSUM_AT[TCP if is_tcp else UDP]
    # What the kernel left there: the pseudo header's sum, with the length of the whole.
    (partial,) = struct.unpack_from("!H", upper, at)
    upper[at : at + 2] = b"\0\0"
    pseudo = partial + (above_bytes ^ 0xFFFF) + length
    checksum = _complement(pseudo + _sum(bytes(upper) + pieces[i]))
    struct.pack_into("!H", upper, at, checksum if is_tcp else checksum or 0xFFFF)
    return bytes(ip + upper) + pieces[i]


def _sum(data: bytes) -> int:
    even = data + b"\0" * (len(data) % 2)
    return sum(struct.unpack(f"!{len(even) // 2}H", even))


def _complement(total: int) -> int:
    """Return what a sum that is not 0 is stored as (RFC 1071)."""
    return 0xFFFF - ((total % 0xFFFF or 0xFFFF) if total else 0)
