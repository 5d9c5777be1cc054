"""Segmentation against scapy, one segment at a time; what cannot be segmented is refused."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6ExtHdrDestOpt,
    PadN,
)
from scapy.packet import Raw

from netlog._native import lib
from tests.oracle.large import FOUR, HEADERS, SIX, made, text
from tests.oracle.packets import corpus
from tests.support.offloads import (
    ECN,
    NEEDS_CSUM,
    NONE,
    TCPV4,
    TCPV6,
    UDP_L4,
    UFO,
    Super,
    Vnet,
    ones_sum,
    segment,
    super_of,
    twin_segments,
)


def unpack(made_: Super) -> tuple[Vnet, bytes]:
    """Split into what `segment` takes."""
    return made_.vnet, made_.packet


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("payload_bytes", [1, 2, 999, 1000, 1001, 1999, 2000, 2001, 64000])
def test_segments_are_those_of_the_twin(kind: str, payload_bytes: int) -> None:
    """Every byte of every segment is as scapy makes it, and the payload is whole."""
    packet = made(kind, text(payload_bytes))
    assert segment(*unpack(super_of(packet, 1000))) == twin_segments(packet, 1000)


@settings(max_examples=150)
@given(
    st.sampled_from(list(HEADERS)),
    st.binary(min_size=1, max_size=300),
    st.integers(1, 400),
)
def test_random_payloads(kind: str, payload: bytes, gso_size: int) -> None:
    """Any payload in segments of any size, down to one byte, gives the twin's segments."""
    packet = made(kind, payload)
    assert segment(*unpack(super_of(packet, gso_size))) == twin_segments(packet, gso_size)


@pytest.mark.parametrize("kind", HEADERS)
@given(payload=st.binary(max_size=100))
def test_partial_checksums(kind: str, payload: bytes) -> None:
    """A packet of its own gets the checksum that scapy gives it, and is else unchanged."""
    packet = made(kind, payload)
    whole = super_of(packet, 0)
    at = whole.vnet.csum_start + whole.vnet.csum_offset
    # All ones for 0, TCP's too, as the kernel's skb_checksum_help() has it.
    right = packet[at : at + 2] if any(packet[at : at + 2]) else b"\xff\xff"
    assert segment(*unpack(whole)) == [packet[:at] + right + packet[at + 2 :]]


@pytest.mark.parametrize(
    ("start", "offset", "fault"),
    [(20, 0, 0), (20, 2, 0), (20, 10, 0), (20, 11, 4), (28, 2, 0), (28, 3, 4), (19, 2, 4)],
)
def test_partial_checksum_of_another_protocol(start: int, offset: int, fault: int) -> None:
    """It is summed from csum_start to the end and lies within the packet, or it is refused."""
    packet = bytes(IP(src="1.2.3.4", dst="5.6.7.8", proto=99) / Raw(bytes(range(1, 13))))
    got = segment(Vnet(NEEDS_CSUM, NONE, 0, 0, start, offset), packet)
    if fault:
        assert got == fault == lib.NETLOG_SEGMENT_CHECKSUM
        return
    (one,) = got  # type: ignore[misc]
    at = start + offset
    assert one[:at] + one[at + 2 :] == packet[:at] + packet[at + 2 :]
    assert struct.unpack_from("!H", one, at)[0] == ones_sum(packet[start:]) ^ 0xFFFF


def test_udp_without_a_sum() -> None:
    """A UDP checksum that comes out as 0 is sent as all ones (RFC 768), in a segment and alone."""
    bare = bytes(FOUR / UDP(sport=5, dport=6) / b"ab\0\0")
    (checksum,) = struct.unpack_from("!H", bare, 26)
    packet = bytes(FOUR / UDP(sport=5, dport=6) / (b"ab" + struct.pack("!H", checksum)))
    assert packet[26:28] == b"\xff\xff"
    for gso_size in (0, 4, 5):
        assert segment(*unpack(super_of(packet, gso_size))) == [packet]


@pytest.mark.parametrize("name", corpus())
def test_what_needs_nothing_is_not_touched(name: str) -> None:
    """A packet of its own whose checksum is there goes on as it is, whatever is in it."""
    packet = corpus()[name]
    assert segment(Vnet(), packet) == [packet]


CHANGES = {
    "gso-size-0": ({"gso_size": 0}, lib.NETLOG_SEGMENT_SIZE),
    "ufo": ({"gso_type": UFO}, lib.NETLOG_SEGMENT_TYPE),
    "unknown-type": ({"gso_type": 2}, lib.NETLOG_SEGMENT_TYPE),
    "tunnel": ({"gso_type": TCPV4 | 0x20}, lib.NETLOG_SEGMENT_TYPE),
    "ecn": ({"gso_type": TCPV4 | ECN}, lib.NETLOG_SEGMENT_TYPE),
    "ecn-alone": ({"gso_type": ECN}, lib.NETLOG_SEGMENT_TYPE),
    "other-version": ({"gso_type": TCPV6}, lib.NETLOG_SEGMENT_TYPE),
    "other-protocol": ({"gso_type": UDP_L4}, lib.NETLOG_SEGMENT_TYPE),
    "no-partial-checksum": ({"flags": 0}, lib.NETLOG_SEGMENT_CHECKSUM),
    "start-low": ({"csum_start": 19}, lib.NETLOG_SEGMENT_CHECKSUM),
    "start-high": ({"csum_start": 21}, lib.NETLOG_SEGMENT_CHECKSUM),
    "start-beyond": ({"csum_start": 65535}, lib.NETLOG_SEGMENT_CHECKSUM),
    "offset-of-udp": ({"csum_offset": 6}, lib.NETLOG_SEGMENT_CHECKSUM),
    "offset-beyond": ({"csum_offset": 65535}, lib.NETLOG_SEGMENT_CHECKSUM),
    "headers-beyond": ({"hdr_len": 3041}, lib.NETLOG_SEGMENT_HEADERS),
}


@pytest.mark.parametrize("name", CHANGES)
def test_impossible_headers(name: str) -> None:
    """A virtio header that contradicts the packet is refused by its reason; nothing is written."""
    changes, fault = CHANGES[name]
    whole = super_of(bytes(IP(src="1.2.3.4", dst="5.6.7.8") / TCP(flags="A") / text(3000)), 1000)
    assert len(segment(whole.vnet, whole.packet)) == 3  # type: ignore[arg-type]
    assert segment(dataclasses.replace(whole.vnet, **changes), whole.packet) == fault


@pytest.mark.parametrize("hdr_len", [0, 1, 40, 41, 3040])
def test_header_length_is_a_hint(hdr_len: int) -> None:
    """Where the headers end the packet says, and not hdr_len."""
    packet = bytes(IP(src="1.2.3.4", dst="5.6.7.8") / TCP(flags="A") / text(3000))
    whole = super_of(packet, 1000)
    got = segment(dataclasses.replace(whole.vnet, hdr_len=hdr_len), whole.packet)
    assert got == twin_segments(packet, 1000)


def tcp4(at: int, value: bytes, cut: int = 0, more: bytes = b"") -> Super:
    """Return a super-packet with some bytes of its own changed."""
    whole = super_of(bytes(IP(src="1.2.3.4", dst="5.6.7.8") / TCP(flags="A") / text(3000)), 1000)
    packet = whole.packet[:at] + value + whole.packet[at + len(value) :]
    return Super(whole.vnet, packet[: len(packet) - cut] + more)


BROKEN = {
    "cut": tcp4(0, b"", cut=1),
    "longer": tcp4(0, b"", more=b"x"),
    "length-short": tcp4(2, b"\x05\x00"),
    "not-ip": tcp4(0, b"\x55"),
    "ihl-4": tcp4(0, b"\x44"),
    "fragment": tcp4(6, b"\x20\x00"),
    "later-fragment": tcp4(6, b"\x00\x01"),
    "data-offset-4": tcp4(32, b"\x40"),
    "syn": tcp4(33, b"\x12"),
    "rst": tcp4(33, b"\x14"),
    "headers-only": Super(tcp4(0, b"").vnet, tcp4(2, b"\x00\x28", cut=3000).packet),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_super_packets(name: str) -> None:
    """A super-packet that is no whole packet, or cannot be segmented, is refused."""
    broken = BROKEN[name]
    vnet = dataclasses.replace(broken.vnet, hdr_len=20)
    assert segment(vnet, broken.packet) == lib.NETLOG_SEGMENT_MALFORMED


def test_udp_length_of_its_own() -> None:
    """A UDP super-packet whose length field is not the packet's is refused."""
    whole = super_of(bytes(FOUR / UDP(sport=5, dport=6) / text(3000)), 1000)
    packet = whole.packet[:24] + b"\x03\xf0" + whole.packet[26:]
    assert segment(whole.vnet, packet) == lib.NETLOG_SEGMENT_MALFORMED


def test_long_headers() -> None:
    """Extension headers up to the bound are repeated; beyond it the packet is refused."""
    for bytes_, fits in ((188, True), (189, False)):
        options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(bytes_))])
        packet = bytes(SIX / options / TCP(flags="A") / text(100))
        got = segment(*unpack(super_of(packet, 10)))
        expected = twin_segments(packet, 10) if fits else lib.NETLOG_SEGMENT_HEADERS
        assert got == expected, bytes_


vnets = st.builds(
    Vnet,
    flags=st.sampled_from([0, NEEDS_CSUM, 2, 3, 4, 255]),
    gso_type=st.sampled_from([NONE, TCPV4, TCPV6, UDP_L4, UFO, TCPV4 | ECN, 255]),
    hdr_len=st.sampled_from([0, 20, 40, 65535]),
    gso_size=st.sampled_from([0, 1, 7, 65535]),
    csum_start=st.one_of(st.sampled_from([0, 20, 40, 48, 65535]), st.integers(0, 65535)),
    csum_offset=st.sampled_from([0, 6, 16, 65534, 65535]),
)


@settings(max_examples=500)
@given(st.sampled_from(list(corpus().values())), vnets, st.integers(0, 80))
def test_any_header_on_any_packet(packet: bytes, vnet: Vnet, length: int) -> None:
    """Whatever the header says: a reason, or packets of at most the size that it allows."""
    got = segment(vnet, packet[:length])
    if isinstance(got, int):
        assert 1 <= got <= lib.NETLOG_SEGMENT_HEADERS
    elif vnet.gso_type == NONE:
        assert [len(one) for one in got] == [len(packet[:length])]
    else:
        assert all(len(one) <= lib.NETLOG_MAX_SEGMENT_HEADERS + vnet.gso_size for one in got)
