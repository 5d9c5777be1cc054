"""Coalescing: what is joined gives the same bytes when it is segmented, and what differs is not."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Raw

from netlog._native import lib
from tests.oracle.packets import corpus
from tests.support.offloads import Super, Vnet, coalesce, segment, super_of, twin_segments

FOUR = IP(src="100.64.0.1", dst="192.0.2.77", id=0xFFFE, flags="DF", ttl=9)
SIX = IPv6(src="fd7a:115c:a1e0::1", dst="2001:db8::4d", fl=0x12345, hlim=9)
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
HEADERS = {
    "tcp4": FOUR / TCP(sport=1, dport=2, seq=0xFFFFFFF0, ack=7, flags="A", options=STAMPS),
    "tcp4-push": FOUR / TCP(sport=1, dport=2, seq=5, ack=7, flags="PAE"),
    "udp4": FOUR / UDP(sport=5, dport=6),
    "tcp6": SIX / TCP(sport=1, dport=2, seq=9, flags="PA", options=STAMPS),
    "udp6": SIX / UDP(sport=5, dport=6),
}
BITS = {"tcp4": 1, "tcp4-push": 1, "tcp6": 2, "udp4": 4, "udp6": 8}


def stream(kind: str, payload: bytes, size: int) -> list[bytes]:
    """Return a flow's packets, in sequence, of `size` bytes of payload each but the last."""
    return twin_segments(bytes(HEADERS[kind].copy() / Raw(payload)), size)


def text(n: int) -> bytes:
    """Return n bytes that are not the same everywhere."""
    return (bytes(range(251)) * (n // 251 + 1))[:n]


def segmented(supers: list[Super]) -> list[bytes]:
    """Return the packets of all super-packets."""
    packets: list[bytes] = []
    for one in supers:
        got = segment(one.vnet, one.packet)
        assert not isinstance(got, int), f"fault {got}"
        packets += got
    return packets


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("payload_bytes", [1, 999, 1000, 1001, 2000, 2001, 30000, 64000])
def test_a_stream_becomes_one(kind: str, payload_bytes: int) -> None:
    """Packets in sequence become what the kernel would have handed over, byte for byte."""
    packets = stream(kind, text(payload_bytes), 1000)
    (one,) = coalesce(packets)
    if len(packets) == 1:
        assert one == Super(Vnet(), packets[0])
    else:
        assert one == super_of(bytes(HEADERS[kind].copy() / Raw(text(payload_bytes))), 1000)
    assert segmented([one]) == packets


@pytest.mark.parametrize("kind", HEADERS)
def test_bounds(kind: str) -> None:
    """A super-packet has at most 64 segments and 65535 bytes; what is beyond begins another."""
    for size, payload_bytes in ((10, 10 * 129), (1400, 140000), (30000, 90000)):
        packets: list[bytes] = []
        while len(packets) * size < payload_bytes:
            header = HEADERS[kind].copy()
            header.ident = None
            if TCP in header:
                header[TCP].seq = (header[TCP].seq + len(packets) * size) % (1 << 32)
                header[TCP].flags = "A"
            if header.version == 4:
                header.id = (header.id + len(packets)) % 65536
            packets.append(bytes(header / Raw(text(size))))
        supers = coalesce(packets)
        counts = [len(segment(one.vnet, one.packet)) for one in supers]  # type: ignore[arg-type]
        assert segmented(supers) == packets
        assert all(len(one.packet) <= 65535 for one in supers)
        assert max(counts) == min(64, (65535 - 72) // size)
        assert len(supers) == -(-len(packets) // max(counts))


@pytest.mark.parametrize("kind", HEADERS)
def test_kinds(kind: str) -> None:
    """What the TUN does not take is not joined."""
    packets = stream(kind, text(5000), 1000)
    assert coalesce(packets, 15 - BITS[kind]) == [Super(Vnet(), packet) for packet in packets]
    assert len(coalesce(packets, BITS[kind])) == 1


def changed(base: bytes, at: int, mask: int, *, fix: bool = True) -> bytes:
    """Flip bits of a packet, and make its checksums right again as scapy does."""
    packet = bytearray(base)
    packet[at] ^= mask
    if not fix:
        return bytes(packet)
    made = IP(bytes(packet)) if base[0] >> 4 == 4 else IPv6(bytes(packet))
    if made.version == 4:
        del made.chksum
    del made[TCP if TCP in made else UDP].chksum
    return bytes(made)


# Bytes of the second packet of a flow that must be as in the first, or as counted on.
DIFFERENT = {
    "tcp4": {
        "tos": (1, 4), "id": (5, 1), "dont-fragment": (6, 0x40), "evil": (6, 0x80), "ttl": (8, 1),
        "source": (15, 1), "destination": (19, 1), "source port": (21, 1), "port": (23, 1),
        "sequence": (27, 1), "acknowledgement": (31, 1), "reserved": (32, 1), "fin": (33, 1),
        "syn": (33, 2), "rst": (33, 4), "no-ack": (33, 16), "urg": (33, 32), "ece": (33, 64),
        "cwr": (33, 128), "window": (35, 1), "urgent": (39, 1), "timestamp": (47, 1),
    },
    "tcp6": {
        "class": (0, 1), "label": (3, 1), "hop limit": (7, 1), "source": (23, 1),
        "destination": (39, 1), "ports": (41, 1), "sequence": (47, 1), "acknowledgement": (51, 1),
        "fin": (53, 1), "window": (55, 1), "timestamp": (67, 1),
    },
    "udp4": {"tos": (1, 4), "id": (5, 1), "ttl": (8, 1), "source": (15, 1), "port": (23, 1)},
    "udp6": {"label": (3, 1), "source": (23, 1), "port": (43, 1)},
}  # fmt: skip
ROWS = [(kind, name) for kind, rows in DIFFERENT.items() for name in rows]


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_what_differs_is_not_joined(kind: str, name: str) -> None:
    """One bit of a header that is not as it must be keeps the packet apart; its bytes stay."""
    first, second, third = stream(kind, text(3000), 1000)
    other = changed(second, *DIFFERENT[kind][name])
    supers = coalesce([first, other, third])
    assert sorted(segmented(supers)) == sorted([first, other, third])
    assert Super(Vnet(), other) in supers


@pytest.mark.parametrize("kind", ["tcp4", "tcp6", "udp4", "udp6"])
@pytest.mark.parametrize("which", [0, 1])
def test_wrong_checksums_are_not_joined(kind: str, which: int) -> None:
    """A packet that was damaged on its way goes on damaged, so that its receiver drops it."""
    packets = stream(kind, text(60), 20)
    for at in range(len(packets[which])):
        damaged = list(packets)
        damaged[which] = changed(packets[which], at, 1, fix=False)
        supers = coalesce(damaged)
        if at == 9 or (at == 6 and kind in {"tcp6", "udp6"}):
            continue  # of another protocol: not looked at further
        assert Super(Vnet(), damaged[which]) in supers, at


def test_damage_that_adds_up() -> None:
    """The other form of zero in a checksum is right too, but would not come back: not joined."""
    bare = stream("tcp4", text(1000) + b"\0\0" + text(998), 1000)
    (checksum,) = struct.unpack_from("!H", bare[1], 36)
    packets = stream("tcp4", text(1000) + struct.pack("!H", checksum) + text(998), 1000)
    assert packets[1][36:38] == b"\0\0"
    assert len(coalesce(packets)) == 1
    other = packets[1][:36] + b"\xff\xff" + packets[1][38:]
    assert segmented(coalesce([packets[0], other])) == [packets[0], other]


LONE: dict[str, list[Any]] = {
    "udp-without-checksum": [FOUR / UDP(sport=5, dport=6, chksum=0) / text(100)] * 2,
    "ip-options": [
        IP(src="1.2.3.4", dst="5.6.7.8", id=i, options=[IPOption_NOP()] * 4)
        / TCP(seq=100 * i, flags="A")
        / text(100)
        for i in range(3)
    ],
    "extension-header": [SIX / IPv6ExtHdrDestOpt() / UDP() / text(100)] * 3,
    "fragments": [IP(src="1.2.3.4", dst="5.6.7.8", id=7, flags="MF") / UDP() / text(96)] * 3,
    "empty": [FOUR / UDP(sport=5, dport=6)] * 3,
    "acknowledgements": [SIX / TCP(flags="A")] * 3,
}


@pytest.mark.parametrize("name", LONE)
def test_never_joined(name: str) -> None:
    """What segmenting could not give back goes on as it is."""
    packets = [bytes(packet) for packet in LONE[name]]
    assert coalesce(packets) == [Super(Vnet(), packet) for packet in packets]


def test_flows_side_by_side() -> None:
    """Packets of several flows that come in turns are joined by flow, each in its order."""
    flows = [stream(kind, text(10000), 1000) for kind in ("tcp4", "tcp6", "udp4", "udp6")]
    mixed = [packet for turn in zip(*flows, strict=True) for packet in turn]
    supers = coalesce(mixed)
    assert [segmented([one]) for one in supers] == flows


def test_order_within_a_flow() -> None:
    """What cannot be joined is not overtaken by what comes behind it."""
    data = stream("tcp4", text(4000), 1000)
    pure = bytes(FOUR / TCP(sport=1, dport=2, seq=1, ack=9, flags="A", options=STAMPS))
    finish = changed(data[1], 33, 1)
    for odd in (pure, finish):
        packets = [data[0], data[1], odd, data[2], data[3]]
        supers = coalesce(packets)
        assert segmented(supers) == packets
        assert len(supers) == 3


def test_fragments_are_not_overtaken() -> None:
    """Whose a later fragment is does not show, so nothing is joined across one."""
    data = stream("udp4", text(4000), 1000)
    fragment = bytes(IP(src="100.64.0.1", dst="192.0.2.77", id=7, frag=9, proto=17) / Raw(b"x" * 8))
    packets = [data[0], data[1], fragment, data[2], data[3]]
    assert segmented(coalesce(packets)) == packets
    assert len(coalesce(packets)) == 3


def flow_key(packet: bytes) -> bytes:
    """Return what tells flows apart, or nothing for what is no whole TCP or UDP packet."""
    if packet[0] >> 4 == 4:
        return packet[9:10] + packet[12:24]
    return packet[6:7] + packet[8:44]


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(HEADERS)),
            st.integers(1, 60),
            st.integers(3, 30),
            st.integers(0, 3),
        ),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_random_mixtures(rows: list[tuple[str, int, int, int]], random: object) -> None:
    """Whatever comes in whatever order: the same packets come back, each flow's in its order."""
    queues = [stream(kind, text(total), size)[lost:] for kind, total, size, lost in rows]
    packets: list[bytes] = []
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])  # type: ignore[attr-defined]
        packets.append(queue.pop(0))
    back = segmented(coalesce(packets))
    assert sorted(back) == sorted(packets)
    for key in {flow_key(packet) for packet in packets}:
        assert [p for p in back if flow_key(p) == key] == [p for p in packets if flow_key(p) == key]


KINDS = list(corpus().values())


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0, 400), st.integers(0, 255)).map(
            lambda row: bytes(b ^ row[2] * (i == row[1]) for i, b in enumerate(row[0] or b"\0"))
        ),
        max_size=40,
    )
)
def test_packets_of_every_kind(packets: list[bytes]) -> None:
    """What is no packet, or no whole one, comes back unchanged too."""
    assert sorted(segmented(coalesce(packets))) == sorted(packets)


def test_more_than_a_coalescer_takes() -> None:
    """Beyond its bound a coalescer takes no more, and has lost nothing."""
    packets = stream("udp6", text(3 * lib.NETLOG_COALESCE_PACKETS), 1)
    assert segmented(coalesce(packets)) == packets
