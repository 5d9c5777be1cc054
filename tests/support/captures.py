"""Capture files made by hand, and the slow twin of `netlog read`: totals by connection."""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from tests.support.decoder import Reason, count_packet

BASE_S = 1_700_000_000
ETHERNET, RAW, SLL, IPV4, IPV6, SLL2 = 1, 101, 113, 228, 229, 276
MIN_FRAME = 60  # IEEE 802.3 without the checksum

Row = tuple[int, str, str]
Totals = Counter[tuple[Row, str]]


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet at a moment, on a link."""

    data: bytes
    time_ns: int = BASE_S * 10**9
    outgoing: bool = False
    vlan: tuple[int, ...] = ()
    interface: int = 0
    padding: bytes = b""


def udp(src: str, dst: str, payload: int = 8, *, ports: tuple[int, int] = (1000, 53)) -> bytes:
    """Make an IPv4 or IPv6 packet with a UDP header and zeros behind it."""
    a, b = ip_address(src), ip_address(dst)
    body = struct.pack("!HHHH", *ports, 8 + payload, 0) + bytes(payload)
    if a.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0)
    else:
        head = struct.pack("!IHBB", 6 << 28, len(body), 17, 64)
    return head + a.packed + b.packed + body


def frame(packet: Packet, link: int) -> bytes:
    """Put a packet on a link, with its padding behind it."""
    return _frame(packet, link) + packet.padding


def _frame(packet: Packet, link: int) -> bytes:
    kind = 0x0800 if packet.data[0] >> 4 == 4 else 0x86DD
    tagged = b""
    for tag in packet.vlan:
        tagged += struct.pack("!HH", tag, 7)
    tagged += struct.pack("!H", kind)
    if link == ETHERNET:
        return (bytes(12) + tagged + packet.data).ljust(MIN_FRAME, b"\xaa")
    if link == SLL:
        return struct.pack("!HHH8s", 4 * packet.outgoing, 1, 6, b"") + tagged + packet.data
    if link == SLL2:
        head = struct.pack("!HHIHBB8s", kind, 0, 3, 1, 4 * packet.outgoing, 6, b"")
        return head + packet.data
    return packet.data


def pcap(
    packets: Iterable[Packet], link: int, *, order: str = "<", nano: bool = False, snap: int = 65535
) -> bytes:
    """Write a pcap file."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    text = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)
    for packet in packets:
        data = frame(packet, link)
        seconds, ns = divmod(packet.time_ns, 10**9)
        kept = data[:snap]
        text += (
            struct.pack(order + "IIII", seconds, ns if nano else ns // 1000, len(kept), len(data))
            + kept
        )
    return text


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Write a block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Write an option of a block."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a pcapng file; `resolution` as in if_tsresol."""

    link: int
    resolution: int | None = None
    offset_s: int = 0
    snap: int = 0

    def ticks(self, time_ns: int) -> int:
        """A moment by its clock."""
        time_ns -= self.offset_s * 10**9
        resolution = 6 if self.resolution is None else self.resolution
        if resolution & 0x80:
            return (time_ns << (resolution & 0x7F)) // 10**9
        return time_ns * int(10**resolution) // 10**9


def pcapng(
    packets: Iterable[Packet], interfaces: Iterable[Interface], *, order: str = "<", kind: int = 6
) -> bytes:
    """Write a section of a pcapng file, with blocks in it that nobody knows."""
    interfaces = list(interfaces)
    text = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for interface in interfaces:
        body = struct.pack(order + "HHI", interface.link, 0, interface.snap)
        body += option(2, b"eth0", order)
        if interface.resolution is not None:
            body += option(9, bytes([interface.resolution]), order)
        if interface.offset_s:
            body += option(14, struct.pack(order + "q", interface.offset_s), order)
        text += block(1, body + option(0, b"", order), order)
    for packet in packets:
        interface = interfaces[packet.interface]
        data = frame(packet, interface.link)
        kept = data[: interface.snap or None]
        ticks = interface.ticks(packet.time_ns)
        clock = struct.pack(order + "IIII", ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(data))
        if kind == 3:
            body = struct.pack(order + "I", len(data)) + kept
        elif kind == 2:
            body = struct.pack(order + "HH", packet.interface, 0) + clock + kept
        else:
            body = struct.pack(order + "I", packet.interface) + clock + kept
            body += bytes(-len(body) % 4) + option(2, bytes(4), order)
        text += block(0xBAD, b"what is this", order) + block(kind, body, order)
    return text


def _endpoint(address: object, port: int) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def is_rx(data: bytes, local: Iterable[str]) -> bool:
    """Whether a packet is rx by the prefixes of this side, bytes by bytes."""
    if data[0] >> 4 == 4:
        src, dst = ip_address(data[12:16]), ip_address(data[16:20])
    else:
        src, dst = ip_address(data[8:24]), ip_address(data[24:40])
    networks = [ip_network(prefix) for prefix in local]
    return not any(src in net for net in networks) and any(dst in net for net in networks)


def twin(packets: Iterable[Packet], link: int = RAW, local: Iterable[str] = ()) -> Totals:
    """What the messages of a capture add up to, packet by packet."""
    totals: Totals = Counter()
    local = list(local)
    for packet in packets:
        rx = is_rx(packet.data, local) if local else link in (SLL, SLL2) and not packet.outgoing
        count = count_packet(packet.data, rx=rx)
        key = count.key
        row = (
            (0, "", "")
            if isinstance(key, Reason)
            else (key.proto, _endpoint(key.src, key.src_port), _endpoint(key.dst, key.dst_port))
        )
        way = "rx" if rx else "tx"
        totals[row, way + "Pkts"] += 1
        totals[row, way + "Bytes"] += count.byte_count
    return +totals


def totals_of(messages: Iterable[dict[str, object]]) -> Totals:
    """What messages add up to."""
    totals: Totals = Counter()
    for message in messages:
        for member, entries in message.items():
            if not member.endswith("Traffic"):
                continue
            assert isinstance(entries, list)
            for entry in entries:
                row = entry.get("proto", 0), entry.get("src", ""), entry.get("dst", "")
                for name in ("txPkts", "txBytes", "rxPkts", "rxBytes"):
                    totals[row, name] += entry.get(name, 0)
    return +totals
