"""Super-packets: the core's segmentation and coalescing as Python sees them, and how to make one.

Used by the oracle tests, with scapy as the twin, and by the system tests, with the kernel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from netlog._native import ffi, lib

__all__ = ["ALL_KINDS", "NONE", "Super", "Vnet", "coalesce", "ones_sum", "segment", "super_of"]

# linux/virtio_net.h
NEEDS_CSUM = 1
NONE, TCPV4, UFO, TCPV6, UDP_L4, ECN = 0, 1, 3, 4, 5, 0x80

ALL_KINDS = 15
"""Of `enum netlog_coalesce_kinds`."""


@dataclass(frozen=True, slots=True)
class Vnet:
    """A virtio header, as it lies in front of a packet."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    LAYOUT = struct.Struct("=BBHHHH")

    def __bytes__(self) -> bytes:
        fields = (self.flags, self.gso_type, self.hdr_len, self.gso_size)
        return self.LAYOUT.pack(*fields, self.csum_start, self.csum_offset)

    @classmethod
    def parse(cls, data: bytes) -> Vnet:
        """Read the header that lies at the beginning of data."""
        return cls(*cls.LAYOUT.unpack_from(data))


@dataclass(frozen=True, slots=True)
class Super:
    """A packet with its virtio header."""

    vnet: Vnet
    packet: bytes

    def __bytes__(self) -> bytes:
        return bytes(self.vnet) + self.packet

    @classmethod
    def parse(cls, data: bytes) -> Super:
        """Read what a TUN with IFF_VNET_HDR hands over."""
        return cls(Vnet.parse(data), data[Vnet.LAYOUT.size :])


def segment(vnet: Vnet, packet: bytes) -> list[bytes] | int:
    """Segment by the core: the packets, or the fault's number."""
    header = ffi.new("struct virtio_net_hdr *")
    ffi.buffer(header)[:] = bytes(vnet)
    data = ffi.new("uint8_t[]", packet)
    plan = ffi.new("struct netlog_segments *")
    fault = lib.netlog_segments_plan(header, data, len(packet), plan)
    if fault:
        assert bytes(ffi.buffer(data)[: len(packet)]) == packet
        return int(fault)
    room = ffi.new("uint8_t[]", 65536)
    copied = (lib.netlog_segment_copy(plan, i, room) for i in range(plan.count))
    return [bytes(ffi.buffer(room, length)) for length in copied]


def coalesce(packets: list[bytes], kinds: int = ALL_KINDS) -> list[Super]:
    """Coalesce by the core, in batches of as many as it takes."""
    coalescer = ffi.new("struct netlog_coalescer *")
    vectors = ffi.new("struct iovec[]", 1 + lib.NETLOG_SUPER_SEGMENTS)
    kept = [ffi.new("uint8_t[]", packet) for packet in packets]
    supers: list[Super] = []

    def flush() -> None:
        lib.netlog_coalesce_finish(coalescer)
        for i in range(coalescer.n_supers):
            n = lib.netlog_coalesce_vectors(coalescer, i, vectors)
            parts = (ffi.buffer(vectors[k].iov_base, vectors[k].iov_len) for k in range(n))
            supers.append(Super.parse(b"".join(bytes(part) for part in parts)))
            assert len(supers[-1].packet) == coalescer.supers[i].length
        lib.netlog_coalesce_begin(coalescer, kinds)

    lib.netlog_coalesce_begin(coalescer, kinds)
    for data, packet in zip(kept, packets, strict=True):
        while not lib.netlog_coalesce_add(coalescer, data, len(packet)):
            flush()
    flush()
    return supers


def ones_sum(data: bytes) -> int:
    """RFC 1071, two bytes at a time."""
    total = int(sum(struct.unpack(f"!{len(data + b' ') // 2}H", data + b"\0" * (len(data) % 2))))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def super_of(packet: bytes, gso_size: int) -> Super:
    """Make a TCP or UDP packet what the kernel hands over: its checksum partial, to be segmented.

    Args:
        packet: with its checksum right, as scapy makes it.
        gso_size: 0: only the checksum is left to do.
    """
    ip = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    layer = TCP if TCP in ip else UDP
    above = bytes(ip[layer])
    start = len(packet) - len(above)
    at = 16 if layer is TCP else 6
    zeroed = above[:at] + b"\0\0" + above[at + 2 :]
    # What the pseudo header adds up to, whatever scapy knows about it: the rest of a right sum.
    (checksum,) = struct.unpack_from("!H", above, at)
    pseudo = ones_sum(struct.pack("!HH", checksum ^ 0xFFFF, ones_sum(zeroed) ^ 0xFFFF))
    kind = UDP_L4 if layer is UDP else TCPV4 if packet[0] >> 4 == 4 else TCPV6
    headers = start + (ip[layer].dataofs * 4 if layer is TCP else 8)
    vnet = Vnet(
        flags=NEEDS_CSUM,
        gso_type=kind if gso_size else NONE,
        hdr_len=headers if gso_size else 0,
        gso_size=gso_size,
        csum_start=start,
        csum_offset=at,
    )
    partial = above[:at] + struct.pack("!H", pseudo) + above[at + 2 :]
    return Super(vnet, packet[:start] + partial)


def twin_segments(packet: bytes, gso_size: int) -> list[bytes]:
    """Segment with scapy, one packet at a time: what `segment` of `super_of` must give."""
    ip = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    layer = TCP if TCP in ip else UDP
    payload = bytes(ip[layer].payload)
    pieces = [payload[at : at + gso_size] for at in range(0, len(payload), gso_size)]
    return [_piece(ip, layer, pieces, i, gso_size) for i in range(len(pieces))]


def _piece(ip: IP | IPv6, layer: type[TCP | UDP], pieces: list[bytes], i: int, size: int) -> bytes:
    made = ip.copy()
    if made.version == 4:
        made.id = (ip.id + i) % 65536
        del made.len, made.chksum
    else:
        del made.plen
    above = made[layer]
    del above.chksum
    if layer is UDP:
        del above.len
    else:
        above.seq = (ip[TCP].seq + i * size) % (1 << 32)
        if i:
            above.flags &= ~0x80  # CWR
        if i + 1 < len(pieces):
            above.flags &= ~0x09  # FIN, PSH
    above.remove_payload()
    return bytes(made.copy() / Raw(pieces[i]))


def a_hop_on(packet: bytes) -> bytes:
    """Return the packet as a router passes it on."""
    made = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    if made.version == 6:
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    made.ttl -= 1
    del made.chksum
    header = bytes(made)[: made.ihl * 4]
    return header + packet[len(header) :]


def turned(packet: bytes) -> bytes:
    """Return a packet with its addresses exchanged, which changes no checksum."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
