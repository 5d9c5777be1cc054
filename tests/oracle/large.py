"""Packets of all kinds that can be segmented, as scapy makes them."""

from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.packet import Raw

FOUR = IP(src="100.64.0.1", dst="192.0.2.77", id=0xFFFE, flags="DF", tos=2)
SIX = IPv6(src="fd7a:115c:a1e0::1", dst="2001:db8::4d", fl=0x12345, tc=2)
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
HEADERS = {
    "tcp4": FOUR / TCP(sport=1, dport=2, seq=0xFFFFFFF0, ack=7, flags="FPAEC", options=STAMPS),
    "tcp4-plain": FOUR / TCP(sport=1, dport=2, seq=1, flags="A"),
    "tcp4-longest": FOUR / TCP(sport=1, dport=2, flags="PA", options=[("NOP", None)] * 40),
    "tcp4-ip-options": IP(src="1.2.3.4", dst="5.6.7.8", options=[IPOption_NOP()] * 40)
    / TCP(flags="PAU", urgptr=9),
    "udp4": FOUR / UDP(sport=5, dport=6),
    "tcp6": SIX / TCP(sport=1, dport=2, seq=9, flags="FPAC", options=STAMPS),
    "udp6": SIX / UDP(sport=5, dport=6),
    "tcp6-extensions": SIX
    / IPv6ExtHdrHopByHop(options=[RouterAlert()])
    / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(100))])
    / TCP(flags="PA", options=STAMPS),
    "udp6-routing": SIX / IPv6ExtHdrRouting(addresses=["2001:db8::9"]) / UDP(sport=5, dport=6),
}


def made(kind: str, payload: bytes) -> bytes:
    """Return a packet whose checksums are right."""
    return bytes(HEADERS[kind].copy() / Raw(payload))


def text(n: int) -> bytes:
    """Return n bytes that are not the same everywhere."""
    return (bytes(range(251)) * (n // 251 + 1))[:n]
