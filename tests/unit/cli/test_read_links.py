"""`netlog read` on every link type: the packet in a frame, or what the frame is instead."""

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11, Dot11Beacon, Dot11QoS, RadioTap
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1Q, Dot3, Ether
from scapy.layers.ppp import HDLC, PPP, PPP_LCP, PPPoE
from scapy.packet import Raw

from tests.support import ROOT
from tests.support.captures import (
    BASE_S,
    ETHERNET,
    RAW,
    SLL,
    Interface,
    Packet,
    block,
    frame,
    pcap,
    pcapng,
    twin,
    udp,
)
from tests.unit.cli.test_read import LOCAL, PACKETS, A, B, Read, netlog

Wrap = Callable[[bytes], bytes]


def records(link: int, frames: list[bytes], snap: int | None = None) -> bytes:
    """Write a pcap file of frames that are made already."""
    text = pcap([], link)
    for data in frames:
        kept = data[:snap]
        text += struct.pack("<IIII", BASE_S, 0, len(kept), len(data)) + kept
    return text


def version(data: bytes) -> int:
    """The version of an IP packet."""
    return data[0] >> 4


def family(order: str, number6: int) -> Wrap:
    """Make the header of NULL and LOOP."""
    return lambda data: struct.pack(order + "I", 2 if version(data) == 4 else number6) + data


def ethertype(data: bytes) -> bytes:
    """The ethertype of an IP packet, as bytes."""
    return b"\x08\x00" if version(data) == 4 else b"\x86\xdd"


def ppp(data: bytes) -> bytes:
    """Make PPP from its protocol on."""
    return bytes(PPP(proto=0x21 if version(data) == 4 else 0x57) / Raw(data))


def labels(count: int) -> Wrap:
    """Make a stack of MPLS labels."""

    def wrap(data: bytes) -> bytes:
        stack = [MPLS(label=100 + n, s=n == count - 1, ttl=64) for n in range(count)]
        return b"".join(bytes(label)[:4] for label in stack) + data

    return wrap


def pktap(order: str, link: int, flags: int) -> bytes:
    """Make the header that Darwin's pktap interface puts before a frame."""
    head = struct.pack(order + "III24sI", 108, 1, link, b"en0", flags)
    return head.ljust(108, b"\0")


def nflog(order: str, net: int, hook: int = 3) -> Wrap:
    """Make what iptables -j NFLOG writes: attributes, with the packet as the last but one."""

    def attribute(kind: int, value: bytes) -> bytes:
        length = struct.pack(order + "HH", 4 + len(value), kind)
        return length + value + bytes(-len(value) % 4)

    def wrap(data: bytes) -> bytes:
        head = struct.pack("!BBH", net, 0, 7)
        head += attribute(1, ethertype(data) + bytes([hook, 0])) + attribute(10, b"prefix\0")
        return head + attribute(9, data) + attribute(12, b"later")

    return wrap


def dot11(layer: object) -> Wrap:
    """Make a data frame of 802.11 with LLC and SNAP."""
    return lambda data: bytes(
        layer / LLC() / SNAP(code=0x800 if version(data) == 4 else 0x86DD) / Raw(data)
    )


def tagged(*types: int) -> Wrap:
    """Make Ethernet with tags."""
    return lambda data: (
        bytes(12) + b"".join(struct.pack("!HH", tag, 7) for tag in types) + ethertype(data) + data
    )


def tailscale(path: int, *addresses: bytes) -> Wrap:
    """Make what `tailscale debug capture` puts before a packet."""
    head = struct.pack("<H", path) + b"".join(bytes([len(each)]) + each for each in addresses)
    return lambda data: head + data


def radiotap(*, padded: bool) -> Wrap:
    """Make a radiotap header with a time and flags, and QoS data behind it, maybe padded."""
    head = struct.pack("<BBHIQB", 0, 0, 18, 0b11, 12345, 0x20 * padded) + b"\0"
    body = bytes(Dot11(type=2, subtype=8, FCfield=1) / Dot11QoS())

    def wrap(data: bytes) -> bytes:
        llc = bytes(LLC() / SNAP(code=0x800 if version(data) == 4 else 0x86DD) / Raw(data))
        return head + body + bytes(2 * padded) + llc + b"\1\2\3\4"

    return wrap


DATA = Dot11(type=2, subtype=0, FCfield=1)
QOS = Dot11(type=2, subtype=8, FCfield=2) / Dot11QoS()
WDS = Dot11(type=2, subtype=8, FCfield=3, addr4="02:00:00:00:00:01") / Dot11QoS()
PPPOE = struct.pack("!BBHH", 0x11, 0, 1, 0)

LINKS: dict[str, tuple[int, Wrap]] = {
    **{
        f"null-{order}-{number}": (0, family(order, number))
        for order in "<>"
        for number in (10, 24, 28, 30)
    },
    "loop": (108, family(">", 24)),
    "ppp": (9, ppp),
    "ppp-hdlc-header": (9, lambda data: bytes(HDLC()) + ppp(data)),
    "ppp-compressed": (9, lambda data: ppp(data)[1:]),
    "ppp-hdlc": (50, lambda data: bytes(HDLC()) + ppp(data)),
    "ppp-hdlc-cisco": (50, lambda data: b"\x0f\0" + ethertype(data) + data),
    "ppp-ether": (51, lambda data: PPPOE + ppp(data)),
    "c-hdlc": (104, lambda data: b"\x0f\0" + ethertype(data) + data),
    "c-hdlc-mpls": (104, lambda data: b"\x0f\0\x88\x47" + labels(2)(data)),
    "frelay": (
        107,
        lambda data: b"\x18\x41\x03" + (b"\xcc" if version(data) == 4 else b"\x8e") + data,
    ),
    "frelay-wide": (107, lambda data: b"\x18\x40\x40\x41\x03\0\x80\0\0\0" + ethertype(data) + data),
    "frelay-cisco": (107, lambda data: b"\x18\x41" + ethertype(data) + data),
    "frelay-ppp": (107, lambda data: b"\x18\x41\x03\xcf" + ppp(data)),
    "mpls": (219, labels(1)),
    "ethernet-mpls": (ETHERNET, lambda data: bytes(12) + b"\x88\x47" + labels(1)(data)),
    "ethernet-mpls-12": (ETHERNET, lambda data: bytes(12) + b"\x88\x48" + labels(12)(data)),
    "ethernet-pppoe": (ETHERNET, lambda data: bytes(Ether() / PPPoE() / Raw(ppp(data)))),
    "ethernet-vlan-pppoe": (
        ETHERNET,
        lambda data: bytes(Ether() / Dot1Q(vlan=7) / PPPoE() / Raw(ppp(data))),
    ),
    "ethernet-pppoe-mpls": (
        ETHERNET,
        lambda data: bytes(12) + b"\x88\x64" + PPPOE + b"\x02\x81" + labels(1)(data),
    ),
    "ethernet-snap": (
        ETHERNET,
        lambda data: bytes(
            Dot3() / LLC() / SNAP(code=0x800 if version(data) == 4 else 0x86DD) / Raw(data)
        ),
    ),
    **{
        f"ethernet-tags-{count}": (
            ETHERNET,
            tagged(*((0x88A8, 0x8100, 0x9100, 0x9200) * 2)[:count]),
        )
        for count in range(1, 9)
    },
    **{
        f"pktap-{link}-{order}": (link, lambda data, order=order: pktap(order, RAW, 2) + data)  # type: ignore[misc]
        for link in (149, 258)
        for order in "<>"
    },
    "pktap-ethernet": (258, lambda data: pktap("<", 1, 2) + bytes(12) + ethertype(data) + data),
    "pktap-null": (258, lambda data: pktap("<", 0, 2) + family("<", 30)(data)),
    **{f"nflog-{order}-{net}": (239, nflog(order, net)) for order in "<>" for net in (0, 2, 10)},
    "802.11": (105, dot11(DATA)),
    "802.11-qos": (105, dot11(QOS)),
    "802.11-wds": (105, dot11(WDS)),
    "radiotap": (127, lambda data: bytes(RadioTap()) + dot11(DATA)(data)),
    "radiotap-flags": (127, radiotap(padded=False)),
    "radiotap-padded": (127, radiotap(padded=True)),
    "tailscale": (147, tailscale(0, b"", b"")),
    "tailscale-snat": (147, tailscale(3, bytes(4), b"")),
    "tailscale-both": (147, tailscale(0, bytes(4), bytes(16))),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_packet_is_found_on_its_link(name: str) -> None:
    """With and without padding; cut anywhere, it is left out, unattributed or whole."""
    link, wrap = LINKS[name]
    packets = PACKETS
    if name.startswith("nflog") and not name.endswith("-0"):
        packets = [
            each for each in PACKETS if version(each.data) == (4 if name[-2:] == "-2" else 6)
        ]
    frames = [wrap(packet.data) for packet in packets]
    expected = twin(packets, local=LOCAL)
    for padding in (b"", b"\xaa" * 7):
        read = Read([records(link, [data + padding for data in frames])], local=LOCAL)
        assert (read.error, read.totals) == ("", expected)
        assert read.counters.packets == len(packets)
    # As the link tells it: all of these left this host.
    assert Read([records(link, frames)]).totals == twin(packets)
    cut = records(link, [])
    for snap in range(len(frames[0])):
        cut += records(link, frames, snap)[24:]
    counters = Read([cut]).counters
    left_out = counters.cut + counters.not_ip + counters.unknown_link
    assert counters.packets + counters.snapped + left_out == len(frames) * len(frames[0])
    assert counters.not_ip + counters.unknown_link == 0


@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (147, tailscale(1, b"", b"")),
        (147, tailscale(2, b"", b"")),
        (258, lambda data: pktap("<", RAW, 1) + data),
        (239, nflog("<", 0, hook=1)),
    ],
    ids=["peer", "made", "pktap", "nflog"],
)
def test_the_link_says_what_came_in(link: int, wrap: Wrap) -> None:
    """Without local prefixes, a link that knows the direction decides."""
    read = Read([records(link, [wrap(packet.data) for packet in PACKETS])])
    assert read.totals == twin([replace(packet, outgoing=False) for packet in PACKETS], SLL)


OTHERS = {
    "ARP": (ETHERNET, bytes(Ether() / ARP())),
    "LLDP": (ETHERNET, bytes(12) + b"\x88\xcc" + bytes(40)),
    "ethertype 0x88b5": (ETHERNET, bytes(12) + b"\x88\xb5" + bytes(40)),
    "PPPoE discovery": (ETHERNET, bytes(12) + b"\x88\x63" + bytes(40)),
    "STP": (ETHERNET, bytes(Dot3() / LLC() / STP())),
    "LLC 0x1234": (ETHERNET, bytes(12) + b"\0\x20\x12\x34\x03" + bytes(40)),
    "PPP LCP": (ETHERNET, bytes(Ether() / PPPoE() / PPP() / PPP_LCP())),
    "VLAN tags, more than netlog reads": (ETHERNET, tagged(*[0x8100] * 9)(udp(A, B))),
    "MPLS without IP": (ETHERNET, bytes(12) + b"\x88\x47\0\x01\x01\x40" + bytes(40)),
    "PPP protocol 0x0041": (9, b"\x00\x41abc"),
    "address family 7": (0, b"\x07\0\0\0" + bytes(20)),
    "Q.933": (107, b"\0\x01\x03\x08\0\x75"),
    "802.11 management": (105, bytes(Dot11(type=0, subtype=8) / Dot11Beacon())),
    "802.11 control": (105, bytes(Dot11(type=1, subtype=13))),
    "802.11 without data": (105, bytes(Dot11(type=2, subtype=4))),
    "802.11 encrypted": (127, bytes(RadioTap() / Dot11(type=2, FCfield=0x40) / Raw(b"x" * 40))),
    "802.11 fragments": (105, bytes(Dot11(type=2, SC=1) / LLC() / SNAP() / Raw(udp(A, B)))),
    "802.11 A-MSDU": (
        105,
        bytes(Dot11(type=2, subtype=8) / Dot11QoS(A_MSDU_Present=1) / Raw(bytes(60))),
    ),
    "Tailscale disco": (147, struct.pack("<H", 254) + bytes(40)),
    "CDP": (104, b"\x8f\0\x20\0" + bytes(20)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_ip_is_named(name: str) -> None:
    """A frame that is left out is counted by what it is."""
    link, data = OTHERS[name]
    read = Read([records(link, [data, data])])
    assert (read.messages, read.counters.not_ip) == ([], 2)
    assert read.counters.kinds == {name: 2}


def test_many_kinds_are_counted_together() -> None:
    """After so many kinds, further ones are `others`: no file takes memory by what is in it."""
    frames = [bytes(12) + struct.pack("!H", 0xA000 + n) + bytes(46) for n in range(100)]
    counters = Read([records(ETHERNET, frames)]).counters
    assert (counters.not_ip, sum(counters.kinds.values()), counters.kinds["others"]) == (
        100,
        100,
        68,
    )


def test_unknown_links_are_named() -> None:
    """Every link type that is not known, with its number and name; USER0 of others is one."""
    frames = [Interface(163), Interface(147), Interface(300), Interface(149)]
    packets = [Packet(udp(A, B, 200), interface=n) for n in range(4)]
    counters = Read([pcapng(packets, frames)]).counters
    assert counters.unknown_link == 4
    assert counters.link_types == {
        147: "147 USER0",
        149: "149 USER2",
        163: "163 IEEE802_11_AVS",
        300: "300 (no name known)",
    }


def test_the_command_says_what_it_left_out(tmp_path: Path) -> None:
    """Malformed packets and frames that are no IP are told by number, and by what they are."""
    short = udp(A, B, 100)[:86]
    frames = [bytes(12) + b"\x08\0" + short, OTHERS["ARP"][1], OTHERS["LLDP"][1], OTHERS["ARP"][1]]
    frames += [bytes(12) + b"\x08\0" + bytes([0x70]) + bytes(59)]
    frames += [bytes(12) + b"\x08\0" + udp(A, B, 20_000)]
    (tmp_path / "x.pcap").write_bytes(records(ETHERNET, frames))
    (tmp_path / "y.pcap").write_bytes(records(163, [b"abc"]))
    done = netlog(str(tmp_path / "x.pcap"), str(tmp_path / "y.pcap"))
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [
        "netlog: 1 malformed packet: counted without addresses",
        "netlog: 1 packet that is neither IPv4 nor IPv6: counted without addresses",
        "netlog: 1 packet longer than 9216 bytes (host with offloads): each counts as one",
        "netlog: 3 frames that are not IP (2 ARP, 1 LLDP): left out",
        "netlog: 1 frame of unknown link types (163 IEEE802_11_AVS): left out",
    ]


def zstd(data: bytes) -> bytes:
    """Pack."""
    module = pytest.importorskip(
        "backports.zstd" if sys.version_info < (3, 14) else "compression.zstd"
    )
    return bytes(module.compress(data))


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_packed_captures_are_read(tmp_path: Path, pack: Wrap, piped: bool) -> None:  # noqa: FBT001
    """A capture in gzip or zstd gives what it gives unpacked; a cut one is told."""
    text = pcap(PACKETS * 5000, RAW)
    (tmp_path / "plain.pcap").write_bytes(text)
    plain = netlog("--node-id", "a", str(tmp_path / "plain.pcap"))
    packed = pack(text)
    (tmp_path / "x.pcap.packed").write_bytes(packed)
    name = "-" if piped else str(tmp_path / "x.pcap.packed")
    done = netlog("--node-id", "a", name, data=packed if piped else None)
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    (tmp_path / "cut").write_bytes(packed[:-9])
    cut = netlog("--node-id", "a", str(tmp_path / "cut"))
    assert cut.returncode == 1
    assert b"cut: the file ends within its " in cut.stderr


def test_a_packed_pipe_may_come_in_single_bytes() -> None:
    """The first bytes say what it is, however few come at once."""
    packed = gzip.compress(pcap(PACKETS, RAW))
    with subprocess.Popen(
        [sys.executable, "-m", "netlog", "read", "--exit-traffic", "log", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for at in range(len(packed)):
            process.stdin.write(packed[at : at + 1])
            process.stdin.flush()
        process.stdin.close()
        lines = process.stdout.read().splitlines()
        assert process.wait(30) == 0
    assert len(lines) == 3


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_modified_pcap_is_read(order: str) -> None:
    """The variant with the magic a1b2cd34 has eight bytes more before each packet."""
    text = struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, ETHERNET)
    for packet in PACKETS:
        data = frame(packet, ETHERNET)
        head = struct.pack(order + "IIII", BASE_S, 0, len(data), len(data))
        text += head + struct.pack(order + "IHBB", 3, 0x800, 0, 0) + data
    read = Read([text], local=LOCAL)
    assert (read.error, read.totals) == ("", twin(PACKETS, local=LOCAL))


def test_an_impossible_time_loses_nothing() -> None:
    """A record of a time that no message can have counts with the one before it."""
    interface = Interface(RAW)
    good = pcapng(PACKETS[:1], [interface])
    data = PACKETS[1].data
    ticks = 151_991 * 365 * 86_400 * 10**6
    body = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)) + data
    strange = block(6, body)
    later = pcapng(PACKETS[2:], [interface])
    read = Read([good + strange + later], local=LOCAL)
    assert (read.error, read.counters.untimed, read.counters.late) == ("", 1, 0)
    assert read.totals == twin(PACKETS, local=LOCAL)
    assert [message["start"] for message in read.messages][:2] == [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:25Z",
    ]
    # At the begin of a file, it is of the first period.
    head = pcapng([], [interface])
    read = Read([head + strange + pcapng(PACKETS, [interface])], local=LOCAL)
    assert read.totals == twin([PACKETS[1], *PACKETS], local=LOCAL)
    assert read.messages[0]["start"] == "2023-11-14T22:13:20Z"
    # And alone in its file, of 1970.
    read = Read([head + strange], local=LOCAL)
    assert read.totals == twin([PACKETS[1]], local=LOCAL)
    assert read.messages[0]["start"] == "1970-01-01T00:00:00Z"


SECTION = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            block(0x0A0D0D0A, SECTION[:4] + b"\x09" + SECTION[5:]),
            "version of pcap or pcapng that",
        ),
        (block(0x0A0D0D0A, b"\x11" + SECTION[1:]), "with an unknown byte order mark"),
    ],
    ids=["version", "order"],
)
def test_a_later_section_that_cannot_be_read_is_named(text: bytes, error: str) -> None:
    """What is before it was counted, and the error says where it is and what."""
    good = pcapng(PACKETS, [Interface(RAW)])
    read = Read([good + text], local=LOCAL)
    assert read.totals == twin(PACKETS, local=LOCAL)
    assert read.error.startswith(f"x.pcap: byte {len(good)}: ")
    assert error in read.error


@pytest.mark.parametrize(
    ("begin", "what"),
    [
        (gzip.compress(b"abc"), "gzip"),
        (b"BZh9" + bytes(20), "bzip2"),
        (b"\xfd7zXZ\0" + bytes(20), "xz"),
        (b"\xef\xbb\xbf" + pcap(PACKETS, RAW), "text with a byte order mark"),
        (b"snoop\0\0\0" + bytes(20), "snoop"),
        (b'{"nodeId":"a"}', "JSON, which netlog fmt reads"),
        (b"\x34\xcd\xb2\xa2" + bytes(20), "neither pcap nor pcapng"),
    ],
    ids=["gzip", "bzip2", "xz", "bom", "snoop", "json", "unknown"],
)
def test_other_files_are_named(begin: bytes, what: str) -> None:
    """A file that is no capture is called what it is, where that is known."""
    assert what in Read([begin]).error
