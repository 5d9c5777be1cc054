"""Packets of every kind that DESIGN section 4 names, made by scapy where it knows the layer."""

from __future__ import annotations

import functools
import struct
from itertools import pairwise

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.inet6 import (
    MIP6MH_BU,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    Jumbo,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

__all__ = ["chain", "corpus", "generic_extension", "super_packets"]

SRC4, DST4 = "100.64.0.1", "192.0.2.77"
SRC6, DST6 = "fd7a:115c:a1e0::1", "2001:db8::4d"
TEXT = b"twelve bytes"
MORE = 1  # scapy counts the flags of RFC 791 §3.1 from the lowest bit

DCCP, SCTP_PROTO, UDP_LITE, TSMP, NO_NEXT = 33, 132, 136, 99, 59
HOP_BY_HOP, ROUTING, FRAGMENT, ESP_PROTO, AH_PROTO = 0, 43, 44, 50, 51
OPTIONS, MOBILITY, HIP, SHIM6 = 60, 135, 139, 140


def _four(proto: int, payload: bytes = b"", *, flags: int = 0, frag: int = 0) -> bytes:
    return bytes(IP(src=SRC4, dst=DST4, proto=proto, flags=flags, frag=frag) / Raw(payload))


def _six(proto: int, payload: bytes = b"") -> bytes:
    return bytes(IPv6(src=SRC6, dst=DST6, nh=proto) / Raw(payload))


def generic_extension(header: int, following: int, units: int = 0) -> bytes:
    """Make an extension header of the smallest kind, `units` beyond the smallest it can be."""
    if header == FRAGMENT:
        return struct.pack("!BBHI", following, 0, 0, 0x5EED)
    if header == AH_PROTO:
        # RFC 4302 §2.2: in 4-byte words, less two; IPv6 keeps it a multiple of 8 bytes.
        words = 4 + 2 * units
        return struct.pack("!BB", following, words - 2) + bytes(words * 4 - 2)
    return struct.pack("!BB", following, units) + bytes(units * 8 + 6)


def chain(headers: list[int], upper: int, payload: bytes, *, units: int = 0) -> bytes:
    """Make an IPv6 packet with these extension headers before its upper-layer protocol."""
    order = [*headers, upper]
    extensions = b"".join(generic_extension(*pair, units=units) for pair in pairwise(order))
    return _six(order[0], extensions + payload)


def zero_length(packet: bytes) -> bytes:
    """Make the length field of an IP packet 0, as in a super-packet that does not fit into it."""
    at = 2 if packet[0] >> 4 == 4 else 4
    return packet[:at] + bytes(2) + packet[at + 2 :]


def _ports(proto: int) -> bytes:
    """Make the smallest header of a protocol whose ports are its first four bytes."""
    layers = {6: TCP, 17: UDP}
    if proto in layers:
        return bytes(layers[proto](sport=4660, dport=53) / Raw(TEXT))
    # RFC 4340 §5.1 (DCCP), RFC 3828 §3.1 (UDP-Lite): ports first, and nothing else matters here.
    return struct.pack("!HHHH", 4660, 53, 20, 0) + TEXT


def _ipv4() -> dict[str, bytes]:
    options = [IPOption_NOP()] * 4
    ah = AH(nh=17, payloadlen=4, spi=0xABCD, seq=1, icv=bytes(12))
    stamps = IPOption_Timestamp(flg=0, timestamp=0)
    base = IP(src=SRC4, dst=DST4)
    return {
        "tcp": bytes(base / TCP(sport=443, dport=51000, flags="S") / Raw(TEXT)),
        "tcp-options": bytes(
            base / TCP(sport=1, dport=2, options=[("MSS", 1400), ("SAckOK", b"")])
        ),
        "udp": bytes(base / UDP(sport=53, dport=5353) / Raw(TEXT)),
        "udp-empty": bytes(base / UDP(sport=0, dport=65535)),
        "dccp": _four(DCCP, _ports(DCCP)),
        "sctp": bytes(base / SCTP(sport=2905, dport=2906) / SCTPChunkInit()),
        "udp-lite": _four(UDP_LITE, _ports(UDP_LITE)),
        "icmp": bytes(base / ICMP(type=8, id=7, seq=1) / Raw(TEXT)),
        "icmp-error": bytes(base / ICMP(type=3, code=1) / IP(dst=SRC4) / UDP(sport=1, dport=2)),
        "igmp": _four(2, bytes.fromhex("1164ee9b00000000")),
        "gre": bytes(base / GRE() / IP(dst="10.0.0.1") / UDP(sport=1, dport=2)),
        "esp": bytes(base / ESP(spi=0xABCD, seq=1, data=TEXT)),
        "ah": bytes(base / ah / UDP(sport=1, dport=2)),
        "ah-twice": _four(51, b"\x33\x04" + bytes(22) + b"\x11\x04" + bytes(22) + _ports(17)),
        "ah-cut": _four(51, b"\x11\x04" + bytes(21)),
        "ah-nine": _four(51, (b"\x33\x00" + bytes(6)) * 9 + _ports(17)),
        "ah-later": _four(51, b"\x11\x00" + bytes(20), frag=3),
        "ah-options": _four(51, b"\x3c\x00" + bytes(6) + b"\x11\x00" + bytes(6) + _ports(17)),
        "ipip": bytes(base / IP(dst="10.0.0.1") / TCP(sport=1, dport=2)),
        "six-in-four": bytes(base / IPv6(dst=DST6) / TCP(sport=1, dport=2)),
        "tsmp": _four(TSMP, TEXT),
        "proto-0": _four(0, TEXT),
        "proto-60": _four(OPTIONS, TEXT),
        "proto-44": _four(FRAGMENT, TEXT),
        "proto-255": _four(255),
        "options-4": bytes(IP(src=SRC4, dst=DST4, options=options) / UDP(sport=7, dport=9)),
        "options-40": bytes(IP(src=SRC4, dst=DST4, options=options * 10) / TCP(sport=7, dport=9)),
        "options-stamp": bytes(IP(src=SRC4, dst=DST4, options=[stamps]) / ICMP()),
        "dont-fragment": bytes(IP(src=SRC4, dst=DST4, flags="DF") / UDP(sport=3, dport=4)),
        "evil-bit": bytes(IP(src=SRC4, dst=DST4, flags="evil") / UDP(sport=3, dport=4)),
        "fragment-first": bytes(IP(src=SRC4, dst=DST4, flags="MF") / UDP(sport=3, dport=4) / TEXT),
        "fragment-first-tcp": bytes(IP(src=SRC4, dst=DST4, flags="MF") / TCP(sport=3, dport=4)),
        "fragment-first-tiny": _four(6, b"\0\7", flags=MORE),
        "fragment-middle": _four(17, TEXT * 2, flags=MORE, frag=185),
        "fragment-last": _four(17, TEXT, frag=370),
        "fragment-last-tcp": _four(6, b"\1", frag=1),
        "fragment-last-offset": _four(6, TEXT, frag=0x1FFF),
        "fragment-icmp": _four(1, TEXT, frag=3),
        "trailing": bytes(base / UDP(sport=3, dport=4)) + b"beyond the length field",
        "trailing-ports": _four(17, b"\0\1\0") + b"\2beyond",
        "bad-ihl-4": bytes(IP(src=SRC4, dst=DST4, ihl=4) / UDP(sport=3, dport=4)),
        "bad-ihl-0": bytes(IP(src=SRC4, dst=DST4, ihl=0) / UDP(sport=3, dport=4)),
        "bad-ihl-15": bytes(IP(src=SRC4, dst=DST4, ihl=15) / UDP(sport=3, dport=4)),
        "bad-length-0": bytes(IP(src=SRC4, dst=DST4, len=0) / UDP(sport=3, dport=4)),
        "bad-length-19": bytes(IP(src=SRC4, dst=DST4, len=19) / UDP(sport=3, dport=4)),
        "bad-length-20": bytes(IP(src=SRC4, dst=DST4, len=20) / UDP(sport=3, dport=4)),
        "bad-length-23": bytes(IP(src=SRC4, dst=DST4, len=23) / UDP(sport=3, dport=4)),
        "bad-length-options": bytes(IP(src=SRC4, dst=DST4, options=options * 2, len=24) / ICMP()),
        "bad-length-long": bytes(IP(src=SRC4, dst=DST4, len=29) / UDP(sport=3, dport=4)),
        "bad-length-max": bytes(IP(src=SRC4, dst=DST4, len=65535) / UDP(sport=3, dport=4)),
    }


def _ipv6() -> dict[str, bytes]:
    base = IPv6(src=SRC6, dst=DST6)
    udp = UDP(sport=3, dport=4) / Raw(TEXT)
    ah = AH(nh=17, payloadlen=4, spi=0xABCD, seq=1, icv=bytes(12))
    ah_long = AH(nh=17, payloadlen=8, spi=0xABCD, seq=1, icv=bytes(28))
    jumbo = IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)])
    last = IPv6ExtHdrFragment(offset=90, m=0, id=9)
    return {
        "tcp": bytes(base / TCP(sport=443, dport=51000) / Raw(TEXT)),
        "udp": bytes(base / UDP(sport=53, dport=5353) / Raw(TEXT)),
        "udp-empty": bytes(base / UDP(sport=65535, dport=0)),
        "dccp": _six(DCCP, _ports(DCCP)),
        "sctp": bytes(base / SCTP(sport=2905, dport=2906) / SCTPChunkInit()),
        "udp-lite": _six(UDP_LITE, _ports(UDP_LITE)),
        "icmp": bytes(base / ICMPv6EchoRequest(id=7, seq=1, data=TEXT)),
        "icmp-nd": bytes(base / ICMPv6ND_NS(tgt=DST6)),
        "gre": bytes(base / GRE() / IPv6(dst=SRC6) / UDP(sport=1, dport=2)),
        "esp": bytes(base / ESP(spi=0xABCD, seq=1, data=TEXT)),
        "esp-bare": _six(ESP_PROTO),
        "no-next-header": _six(NO_NEXT),
        "no-next-header-data": _six(NO_NEXT, TEXT),
        "four-in-six": bytes(base / IP(dst=DST4) / TCP(sport=1, dport=2)),
        "tsmp": _six(TSMP, TEXT),
        "mapped": bytes(IPv6(src="::ffff:1.2.3.4", dst="::ffff:5.6.7.8") / udp),
        "unspecified": bytes(IPv6(src="::", dst="ff02::1") / ICMPv6EchoRequest()),
        "hop-by-hop": bytes(base / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / udp),
        "options": bytes(base / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))]) / udp),
        "routing": bytes(base / IPv6ExtHdrRouting(type=0, addresses=[SRC6, DST6]) / udp),
        "routing-srv6": bytes(base / IPv6ExtHdrSegmentRouting(addresses=[DST6, SRC6]) / udp),
        "ah": bytes(base / ah / udp),
        "ah-long": bytes(base / ah_long / udp),
        "mobility": bytes(base / MIP6MH_BU(seq=4)),
        "mobility-udp": chain([MOBILITY], 17, _ports(17), units=1),
        "hip": chain([HIP], NO_NEXT, b"", units=4),
        "hip-udp": chain([HIP], 17, _ports(17), units=4),
        "shim6": chain([SHIM6], 6, _ports(6)),
        "fragment-first": bytes(base / IPv6ExtHdrFragment(offset=0, m=1, id=9) / udp),
        "fragment-first-chain": bytes(
            base / IPv6ExtHdrFragment(m=1, id=9) / IPv6ExtHdrDestOpt() / TCP(sport=5, dport=6)
        ),
        "fragment-first-tiny": bytes(base / IPv6ExtHdrFragment(m=1, nh=17, id=9) / Raw(b"\0\1\0")),
        "fragment-middle": bytes(base / IPv6ExtHdrFragment(offset=90, m=1, id=9) / udp),
        "fragment-last": bytes(base / last / udp),
        "fragment-last-tcp": bytes(
            base / IPv6ExtHdrFragment(offset=0x1FFF, m=0, nh=6, id=9) / Raw(b"\1")
        ),
        "fragment-last-options": bytes(
            base / IPv6ExtHdrFragment(offset=1, m=0, nh=OPTIONS, id=9) / Raw(b"")
        ),
        "fragment-last-fragment": bytes(
            base / IPv6ExtHdrFragment(offset=1, m=0, nh=FRAGMENT, id=9) / Raw(TEXT)
        ),
        "fragment-atomic": bytes(base / IPv6ExtHdrFragment(offset=0, m=0, id=9) / udp),
        "fragment-behind": bytes(base / IPv6ExtHdrRouting(addresses=[SRC6]) / last / Raw(TEXT)),
        "jumbo": bytes(IPv6(src=SRC6, dst=DST6, plen=0) / jumbo / udp),
        "jumbo-with-length": bytes(base / jumbo / udp),
        "hop-by-hop-second": chain([OPTIONS, HOP_BY_HOP], 17, _ports(17)),
        "bad-extension-length": _six(OPTIONS, b"\x11\xff" + bytes(60)),
        "bad-ah-length": _six(AH_PROTO, b"\x11\xff" + bytes(60)),
        "bad-options-cut": _six(OPTIONS, b"\x11"),
        "ah-shortest": _six(AH_PROTO, b"\x11\x00" + bytes(6) + _ports(17)),
        "trailing": bytes(base / UDP(sport=3, dport=4)) + b"beyond the length field",
        "trailing-ports": _six(17, b"\0\1\0") + b"\2beyond",
        "trailing-extension": _six(OPTIONS) + b"\x11\x00" + bytes(6) + _ports(17),
        "bad-length-0": bytes(IPv6(src=SRC6, dst=DST6, plen=0) / udp),
        "zero-length-tcp": bytes(IPv6(src=SRC6, dst=DST6, plen=0) / TCP(sport=1, dport=2)),
        "zero-length-udp": bytes(IPv6(src=SRC6, dst=DST6, plen=0) / UDP(sport=1, dport=2)),
        "zero-length-chain": zero_length(chain([OPTIONS, ROUTING], 17, _ports(17))),
        "zero-length-later": zero_length(chain([FRAGMENT], 17, b"\xff" + _ports(17))),
        "zero-length-icmp": bytes(IPv6(src=SRC6, dst=DST6, plen=0) / ICMPv6EchoRequest()),
        "zero-length-none": bytes(IPv6(src=SRC6, dst=DST6, plen=0, nh=NO_NEXT)) + TEXT,
        "jumbo-right": bytes(
            IPv6(src=SRC6, dst=DST6, plen=0)
            / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=36 + len(TEXT))])
            / UDP(sport=3, dport=4)
            / Raw(TEXT + bytes(20))
        ),
        "jumbo-behind-padding": bytes(IPv6(src=SRC6, dst=DST6, plen=0, nh=0))
        + bytes([17, 1, 0, 1, 1, 0, 0xC2, 4, 0, 0, 0, 24])
        + bytes(4)
        + _ports(17)
        + bytes(30),
        "bad-length-3": bytes(IPv6(src=SRC6, dst=DST6, plen=3) / udp),
        "bad-length-long": bytes(IPv6(src=SRC6, dst=DST6, plen=21) / udp),
        "bad-length-max": bytes(IPv6(src=SRC6, dst=DST6, plen=65535) / udp),
    }


def _chains() -> dict[str, bytes]:
    walked = [HOP_BY_HOP, ROUTING, FRAGMENT, AH_PROTO, OPTIONS, MOBILITY, HIP, SHIM6]
    rows = {
        f"chain-{n}-{upper}": chain((walked * 2)[:n], upper, _ports(upper))
        for n in range(11)
        for upper in (6, 58)
    }
    rows |= {f"chain-same-{n}": chain([OPTIONS] * n, 17, _ports(17)) for n in range(7, 11)}
    rows |= {f"one-{header}": chain([header], 6, _ports(6)) for header in walked}
    rows |= {f"wide-{header}": chain([header], 6, _ports(6), units=3) for header in walked}
    rows |= {f"twice-{header}": chain([header] * 2, 17, _ports(17)) for header in walked}
    return rows


def _others() -> dict[str, bytes]:
    rows = {f"version-{version}": bytes([version << 4 | 5]) + bytes(59) for version in range(16)}
    return {"empty": b"", "arp": bytes.fromhex("0001080006040001") + bytes(20), **rows}


@functools.cache
def corpus() -> dict[str, bytes]:
    """All packets by name."""
    rows = _others()
    rows |= {f"ipv4-{name}": packet for name, packet in _ipv4().items()}
    rows |= {f"ipv6-{name}": packet for name, packet in _ipv6().items()}
    rows |= {f"ipv6-{name}": packet for name, packet in _chains().items()}
    return rows


@functools.cache
def super_packets(payload_bytes: int) -> dict[str, bytes]:
    """Packets that a TUN with offloads could hand over, with a payload of this size."""
    load = Raw(bytes(payload_bytes))
    four, six = IP(src=SRC4, dst=DST4), IPv6(src=SRC6, dst=DST6)
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    return {
        "tcp4": bytes(four / TCP(sport=5, dport=6) / load),
        "tcp4-options": bytes(four / TCP(sport=5, dport=6, options=options) / load),
        "tcp4-ip-options": bytes(
            IP(src=SRC4, dst=DST4, options=[IPOption_NOP()] * 4) / TCP(sport=5, dport=6) / load
        ),
        "udp4": bytes(four / UDP(sport=5, dport=6) / load),
        "tcp6": bytes(six / TCP(sport=5, dport=6, options=options) / load),
        "udp6": bytes(six / UDP(sport=5, dport=6) / load),
        "tcp6-extension": bytes(six / IPv6ExtHdrDestOpt() / TCP(sport=5, dport=6) / load),
        "udp6-chain": chain([HOP_BY_HOP, ROUTING, OPTIONS], 17, _ports(17) + bytes(payload_bytes)),
        "udp6-atomic": bytes(six / IPv6ExtHdrFragment(id=1) / UDP(sport=5, dport=6) / load),
        "udp4-first": bytes(IP(src=SRC4, dst=DST4, flags="MF") / UDP(sport=5, dport=6) / load),
        "udp4-later": _four(17, bytes(payload_bytes), frag=2),
        "udp6-first": bytes(six / IPv6ExtHdrFragment(m=1, id=1) / UDP(sport=5, dport=6) / load),
        "icmp4": bytes(four / ICMP() / load),
        "sctp4": bytes(four / SCTP(sport=5, dport=6) / load),
        "tcp4-trailing": bytes(four / TCP(sport=5, dport=6) / load) + b"beyond",
        "tcp4-offset-4": bytes(four / TCP(sport=5, dport=6, dataofs=4) / load),
        "tcp4-zero": zero_length(bytes(four / TCP(sport=5, dport=6) / load)),
        "tcp6-zero": zero_length(bytes(six / TCP(sport=5, dport=6) / load)),
        "udp6-zero": zero_length(bytes(six / UDP(sport=5, dport=6) / load)),
        "tcp6-jumbo": zero_length(
            bytes(
                six
                / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=28 + payload_bytes)])
                / TCP(sport=5, dport=6)
                / load
            )
        ),
        "tcp4-offset-15": bytes(four / TCP(sport=5, dport=6, dataofs=15) / load),
    }
