"""`netlog read` against tshark, on captures of every link type with every kind of packet."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.mpls import MPLS  # noqa: F401 - binds MPLS to Ethernet
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet as Layer
from scapy.packet import Raw

from fuzz.compare import RULES, compare
from tests.support import ROOT
from tests.unit.cli.test_read_links import LINKS, records, version

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")

HOST, PEER = "100.64.0.1", "192.0.2.9"
HOST_6, PEER_6 = "fd7a:115c:a1e0::1", "2001:db8::9"
DATA = Raw(b"x" * 100)


def ip4(**fields: Any) -> Layer:  # noqa: ANN401 - scapy's
    """An IPv4 header."""
    return IP(src=HOST, dst=PEER, **fields)


def ip6(**fields: Any) -> Layer:  # noqa: ANN401 - scapy's
    """An IPv6 header."""
    return IPv6(src=HOST_6, dst=PEER_6, **fields)


def udp(port: int = 53) -> Layer:
    """A datagram, whose lengths and checksums scapy fills in."""
    return UDP(sport=1000, dport=port) / DATA


def tcp() -> Layer:
    """A segment."""
    return TCP(sport=2000, dport=443, flags="PA") / DATA


def sized(layer: Layer, at: int, value: int) -> bytes:
    """A packet with one of its 16-bit fields changed."""
    data = bytearray(bytes(layer))
    data[at : at + 2] = value.to_bytes(2, "big")
    return bytes(data)


PACKETS: dict[str, bytes] = {
    name: bytes(made)
    for name, made in {
        "udp4": ip4() / udp(),
        "tcp4": ip4() / tcp(),
        "sctp4": ip4() / SCTP(sport=7, dport=8) / SCTPChunkData(data=b"abcd"),
        "icmp4": ip4() / ICMP() / DATA,
        "error4": ip4() / ICMP(type=3, code=3) / IP(src=PEER, dst=HOST) / udp(),
        "esp4": ip4() / ESP(spi=1, seq=1, data=b"secret" * 8),
        "ah4": ip4() / AH(nh=17, spi=1, seq=1, icv=b"i" * 12) / udp(54),
        "options4": ip4(options=[IPOption_Router_Alert()]) / udp(55),
        "first4": ip4(id=7, flags="MF", proto=17) / Raw(bytes(udp(56))[:64]),
        "later4": ip4(id=7, frag=8, proto=17) / Raw(b"y" * 40),
        "udplite4": ip4(proto=136) / Raw(bytes(udp(57))),
        "tunnel4": ip4() / IP(src=PEER, dst=HOST) / udp(58),
        "protocol4": ip4(proto=99) / DATA,
        "udp6": ip6() / udp(),
        "tcp6": ip6() / tcp(),
        "sctp6": ip6() / SCTP(sport=7, dport=8) / SCTPChunkData(data=b"abcd"),
        "icmp6": ip6() / ICMPv6EchoRequest(data=b"ping"),
        "esp6": ip6() / ESP(spi=1, seq=1, data=b"secret" * 8),
        "ah6": ip6() / AH(nh=17, spi=1, seq=1, icv=b"i" * 12) / udp(59),
        "extended6": ip6()
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrRouting(addresses=["2001:db8::7"], segleft=1)
        / udp(60),
        "first6": ip6() / IPv6ExtHdrFragment(m=1, id=9, nh=17) / Raw(bytes(udp(61))[:64]),
        "later6": ip6() / IPv6ExtHdrFragment(offset=8, id=9, nh=17) / Raw(b"y" * 40),
        "tunnel6": ip6() / ip4() / udp(62),
        "none6": ip6(nh=59),
    }.items()
}
SUPERS: dict[str, bytes] = {
    "tso4": sized(ip4() / TCP(sport=2001, dport=443) / Raw(b"z" * 9000), 2, 0),
    "tso6": sized(ip6() / TCP(sport=2001, dport=443) / Raw(b"z" * 9000), 4, 0),
    "big4": sized(ip4(len=0) / TCP(sport=2002, dport=443) / Raw(b"z" * 70_000), 2, 0),
    "jumbo6": bytes(
        ip6(plen=0)
        / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70_028)])
        / TCP(sport=2003, dport=443)
        / Raw(b"z" * 70_000)
    ),
}
MALFORMED: dict[str, bytes] = {
    "short4": bytes(ip4(len=22, proto=17) / Raw(b"ab")),
    "short6": bytes(ip6(plen=2, nh=17) / Raw(b"ab")),
}


def put(folder: Path, link: int, frames: list[bytes]) -> Path:
    """Write a capture."""
    path = folder / "made.pcap"
    path.write_bytes(records(link, frames))
    return path


def of_link(name: str, packets: dict[str, bytes]) -> list[bytes]:
    """What the link carries of them."""
    if name.startswith("nflog") and not name.endswith("-0"):
        only = 4 if name.endswith("-2") else 6
        return [data for data in packets.values() if version(data) == only]
    return list(packets.values())


UNREAD = {
    "null-<-10",  # Linux's number of IPv6
    "null->-10",
    "ppp-ether",  # a PPPoE header without a length
    "ethernet-pppoe-mpls",
    *(f"ethernet-tags-{count}" for count in (4, 5, 6, 7, 8)),  # 0x9200
    *(f"pktap-{link}->" for link in (149, 258)),  # of a host with the other byte order
    *(f"nflog->-{family}" for family in (0, 2, 10)),
    "tailscale-snat",  # with addresses of NAT before the packet
    "tailscale-both",
}
"""Links that tshark 4.0 does not read, though they are right."""


@pytest.mark.parametrize("padding", [0, 7], ids=["plain", "padded"])
@pytest.mark.parametrize("name", [name for name in LINKS if name != "mpls"])
def test_every_link_type_agrees(tmp_path: Path, name: str, padding: int) -> None:
    """Each packet is the same connection with the same bytes, on each link that both read."""
    link, wrap = LINKS[name]
    frames = [wrap(data) + b"\xaa" * padding for data in of_link(name, PACKETS)]
    found = compare(put(tmp_path, link, frames))
    assert (found.differences, found.error) == ({}, "")
    # tshark takes what lies behind the attributes of NFLOG for one of them.
    unread = name in UNREAD or (name.startswith("nflog") and padding)
    assert set(found.rules) == ({"frames that tshark does not read"} if unread else set())
    assert found.connections > len(frames) // 2


def test_a_link_that_tshark_refuses(tmp_path: Path) -> None:
    """A capture that tshark does not read at all is an error, not an agreement."""
    link, wrap = LINKS["mpls"]
    with pytest.raises(OSError, match="219"):
        compare(put(tmp_path, link, [wrap(PACKETS["udp4"])]))


@pytest.mark.parametrize("name", ["ethernet-tags-1", "ethernet-mpls", "802.11", "null-<-24"])
def test_super_packets_agree(tmp_path: Path, name: str) -> None:
    """A length of 0 stands for all that came; tshark knows that of IPv4 and of jumbo options."""
    link, wrap = LINKS[name]
    found = compare(put(tmp_path, link, [wrap(data) for data in SUPERS.values()]))
    assert (found.differences, found.error) == ({}, "")
    assert found.rules == {"IPv6 super-packets": 1}


def test_what_differs_has_a_rule(tmp_path: Path) -> None:
    """Packets that are too short for their ports are unattributed in netlog alone."""
    found = compare(put(tmp_path, 101, [*MALFORMED.values(), PACKETS["udp4"]]))
    assert (found.differences, found.error) == ({}, "")
    assert found.rules.total() == len(MALFORMED)


def test_every_rule_is_documented() -> None:
    """By its name, in the page about what is counted."""
    page = (ROOT / "docs" / "counting.md").read_text()
    assert [rule for rule in RULES if f"**{rule}**" not in page] == []


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What netlog counts in another way, and no rule explains, is told by its kind."""
    path = put(tmp_path, 101, list(MALFORMED.values()))
    monkeypatch.setattr("fuzz.compare.UNATTRIBUTED_RULES", {})
    assert set(compare(path).differences) == {"only in netlog", "only in tshark"}
