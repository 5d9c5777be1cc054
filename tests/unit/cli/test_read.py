"""`netlog read`: every format and link gives what a slow twin counts; damage never does harm."""

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scapy.utils
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Jumbo,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1Q, Ether

from netlog.capture import CaptureCounters, CaptureError, CaptureReader
from tests.support import ROOT
from tests.support.captures import (
    BASE_S,
    ETHERNET,
    IPV4,
    IPV6,
    RAW,
    SLL,
    SLL2,
    Interface,
    Packet,
    Totals,
    block,
    frame,
    pcap,
    pcapng,
    totals_of,
    twin,
    udp,
)

BASE_NS = BASE_S * 10**9
A, B, C = "100.64.0.1", "100.64.0.2", "192.0.2.7"
A6, B6 = "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"
LOCAL = (A, A6)

PACKETS = [
    Packet(udp(A, B), BASE_NS, outgoing=True),
    Packet(udp(B, A, 100, ports=(53, 1000)), BASE_NS + 1_000),
    Packet(udp(A, B, 0), BASE_NS + 2_000_000_000, outgoing=True),
    Packet(udp(C, B, 1), BASE_NS + 3_000_000_000),
    Packet(udp(A6, B6, 1200), BASE_NS + 7_000_001_000, outgoing=True),
    Packet(udp(B6, A6, 3, ports=(53, 1000)), BASE_NS + 23_000_000_000),
]
V4 = [packet for packet in PACKETS if packet.data[0] >> 4 == 4]
V6 = [packet for packet in PACKETS if packet.data[0] >> 4 == 6]


class Read:
    """A capture that was read."""

    def __init__(self, files: Iterable[bytes], **options: object) -> None:
        """Read them all."""
        self.messages: list[dict[str, object]] = []
        self.error = ""
        options = {"node_id": "a", "exit_traffic": "log"} | options
        with CaptureReader(**options) as reader:  # type: ignore[arg-type]
            for text in files:
                try:
                    for message in reader.read(io.BytesIO(text), "x.pcap"):
                        self.messages.append(json.loads(message.to_json()))
                except CaptureError as error:
                    self.error = str(error)
            self.messages += [json.loads(message.to_json()) for message in reader.finish()]
            self.counters: CaptureCounters = reader.counters()

    @property
    def totals(self) -> Totals:
        """What they add up to."""
        return totals_of(self.messages)


@pytest.mark.parametrize("local", [(), LOCAL], ids=["plain", "local"])
@pytest.mark.parametrize("nano", [False, True], ids=["us", "ns"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("link", [ETHERNET, 12, 14, RAW, SLL, IPV4, IPV6, SLL2])
def test_pcap_equals_the_twin(link: int, order: str, nano: bool, local: tuple[str, ...]) -> None:  # noqa: FBT001
    """Every link type, byte order and resolution; with and without local prefixes."""
    packets = {IPV4: V4, IPV6: V6}.get(link, PACKETS)
    read = Read([pcap(packets, link, order=order, nano=nano)], local=local)
    assert read.error == ""
    assert read.totals == twin(packets, link, local)
    assert read.counters == CaptureCounters(packets=len(packets))


@pytest.mark.parametrize("kind", [6, 2], ids=["enhanced", "old"])
@pytest.mark.parametrize("resolution", [None, 3, 6, 9, 10, 0x80 | 20, 0x80 | 30])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_pcapng_equals_the_twin(order: str, resolution: int | None, kind: int) -> None:
    """Interfaces with their own link types, clocks and offsets; unknown blocks are skipped."""
    interfaces = [
        Interface(RAW, resolution),
        Interface(ETHERNET, resolution, offset_s=BASE_S - 100),
        Interface(SLL2),
    ]
    packets = [replace(packet, interface=i % 2) for i, packet in enumerate(PACKETS)]
    read = Read([pcapng(packets, interfaces, order=order, kind=kind)], local=LOCAL)
    assert read.error == ""
    assert read.totals == twin(packets, local=LOCAL)
    starts = [message["start"] for message in read.messages]
    # a binary clock is off by less than a microsecond, and by nothing at whole seconds
    assert starts[0] == "2023-11-14T22:13:20Z"
    assert starts[-1] == "2023-11-14T22:13:40Z"


def test_sections_of_either_order_follow_each_other() -> None:
    """A later section has its own byte order and interfaces."""
    text = pcapng(PACKETS, [Interface(RAW)]) + pcapng(PACKETS, [Interface(SLL)], order=">")
    read = Read([text], local=LOCAL)
    assert read.error == ""
    assert read.totals == twin(PACKETS + PACKETS, local=LOCAL)


def test_simple_packets_are_of_the_time_before() -> None:
    """A simple packet block has no time: it counts in the period that it is read in."""
    text = pcapng(PACKETS[:1], [Interface(RAW)])
    simple = block(3, struct.pack("<I", len(PACKETS[1].data)) + PACKETS[1].data)
    read = Read([text + simple], local=LOCAL)
    assert read.totals == twin(PACKETS[:2], local=LOCAL)
    assert [message["start"] for message in read.messages] == ["2023-11-14T22:13:20Z"]


@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100)], ids=str)
@pytest.mark.parametrize("link", [ETHERNET, SLL])
def test_vlan_tags_are_passed(link: int, tags: tuple[int, ...]) -> None:
    """One or two tags stand before the packet."""
    packets = [replace(packet, vlan=tags) for packet in PACKETS]
    read = Read([pcap(packets, link)], local=LOCAL)
    assert read.totals == twin(packets, link, LOCAL)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("link", [ETHERNET, 12, 14, RAW, SLL, IPV4, IPV6, SLL2])
def test_padding_is_no_part_of_a_packet(link: int, order: str) -> None:
    """On every link, a packet has the bytes that its own header says."""
    empty = IPv6(src=A6, dst=B6, nh=59, plen=0)
    packets = [*PACKETS, Packet(bytes(empty))]
    if link in (IPV4, IPV6):
        packets = [
            packet for packet in packets if packet.data[0] >> 4 == (4 if link == IPV4 else 6)
        ]
    padded = [replace(packet, padding=bytes(18)) for packet in packets]
    read = Read([pcap(padded, link, order=order)], local=LOCAL)
    assert read.totals == twin(packets, link, LOCAL)


TCP_SUPER = TCP(sport=1000, dport=443) / bytes(1960)
JUMBO = IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70028)])
SUPER = {
    "ipv4": bytes(IP(src=A, dst=B, len=0) / TCP_SUPER),
    "ipv4-big": bytes(IP(src=A, dst=B, len=0) / TCP(sport=1000, dport=443)) + bytes(70_000),
    "ipv6": bytes(IPv6(src=A6, dst=B6, plen=0) / TCP_SUPER),
    "ipv6-options": bytes(IPv6(src=A6, dst=B6, plen=0) / IPv6ExtHdrDestOpt() / TCP_SUPER),
    "ipv6-udp": bytes(IPv6(src=A6, dst=B6, plen=0) / UDP(sport=1000, dport=443) / bytes(1960)),
    "ipv6-big": bytes(IPv6(src=A6, dst=B6, plen=0, nh=6) / TCP_SUPER) + bytes(70_000),
    "ipv6-jumbo": bytes(IPv6(src=A6, dst=B6, plen=0) / JUMBO / TCP(sport=1000, dport=443))
    + bytes(70_000),
}


@pytest.mark.parametrize("snap", [200, 128, 1 << 18])
@pytest.mark.parametrize("link", [ETHERNET, RAW, SLL2])
@pytest.mark.parametrize("kind", SUPER)
def test_a_length_of_zero_is_all_of_a_super_packet(kind: str, link: int, snap: int) -> None:
    """The host's own super-packets, whose length field is 0, are of their connection."""
    packets = [Packet(SUPER[kind], outgoing=True)]
    read = Read([pcap(packets, link, snap=snap)])
    assert read.totals == twin(packets)
    ((proto, src, dst), _), _ = sorted(read.totals)
    assert (proto, src[-5:], dst[-4:]) == (17 if "udp" in kind else 6, ":1000", ":443")
    assert read.totals[(proto, src, dst), "txBytes"] == len(SUPER[kind])


@pytest.mark.parametrize("link", [ETHERNET, RAW, SLL])
def test_ah_is_walked_in_both_versions(link: int) -> None:
    """The protocol and the ports of what AH protects, in IPv4 as in IPv6."""
    ah = AH(nh=17, payloadlen=4, spi=1, seq=1, icv=bytes(12)) / UDP(sport=1000, dport=53)
    made = IP(src=A, dst=B) / ah, IPv6(src=A6, dst=B6) / ah
    packets = [Packet(bytes(packet), outgoing=True) for packet in made]
    read = Read([pcap(packets, link)])
    assert {row for row, _ in read.totals} == {
        (17, f"{A}:1000", f"{B}:53"),
        (17, f"[{A6}]:1000", f"[{B6}]:53"),
    }
    # What was captured ends within AH: its ports are not known, and no byte behind it is read.
    cut = Read([pcap(packets, RAW, snap=43)])
    assert (cut.counters.snapped, {row for row, _ in cut.totals}) == (2, {(0, "", "")})


@pytest.mark.parametrize(
    ("link", "header"), [(RAW, 0), (ETHERNET, 14), (SLL, 16), (SLL2, 20)], ids=str
)
def test_snapped_packets_count_as_they_were(link: int, header: int) -> None:
    """From the snap length that keeps the ports on, it changes nothing; below, only addresses."""
    whole = twin(PACKETS, link, LOCAL)
    for snap in range(header + 40 + 4, header + 70):
        read = Read([pcap(PACKETS, link, snap=snap)], local=LOCAL)
        assert (read.totals, read.counters.snapped) == (whole, 0), snap
    for snap in range(header, header + 24):
        read = Read([pcap(PACKETS, link, snap=snap)], local=LOCAL)
        assert read.counters.snapped == len(PACKETS), snap
        assert read.error == ""
        for names in (("txPkts", "rxPkts"), ("txBytes", "rxBytes")):
            expected = sum(n for (_, name), n in whole.items() if name in names)
            found = sum(n for (_, name), n in read.totals.items() if name in names)
            assert link == ETHERNET or found == expected
    for snap in range(1, header):
        read = Read([pcap(PACKETS, link, snap=snap)])
        assert (read.messages, read.counters.cut) == ([], len(PACKETS)), snap


def test_a_short_packet_is_malformed_and_not_snapped() -> None:
    """A packet that was shorter than it says on the wire has no connection, whatever was kept."""
    data = udp(A, B, 500)[:100]
    for snap in (64, 65535):
        read = Read([pcap([Packet(data)], RAW, snap=snap)])
        assert read.totals == twin([Packet(data)])
        assert (read.counters.snapped, read.counters.packets) == (0, 1)


def test_scapy_writes_and_netlog_reads(tmp_path: Path) -> None:
    """Captures that another program wrote: headers of all kinds, ARP and padding among them."""
    # With both addresses: scapy would ask the network for them.
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    made = [
        link / IP(src=A, dst=C) / TCP(sport=1, dport=2),
        link / Dot1Q(vlan=5) / IP(src=C, dst=A, options=[b"\x01\x01\x01\x00"]) / UDP() / b"xy",
        link / IP(src=A, dst=C) / ICMP(),
        link / IP(src=A, dst=C, frag=9) / b"rest",
        link / IPv6(src=A6, dst=B6) / IPv6ExtHdrHopByHop() / UDP(sport=5, dport=6) / b"z",
        link / IPv6(src=B6, dst=A6) / IPv6ExtHdrFragment(offset=8, nh=17) / b"01234567",
    ]
    raw = [bytes(packet[IP] if IP in packet else packet[IPv6]) for packet in made]
    frames = [bytes(packet).ljust(60, b"\0") for packet in made] + [bytes(link / ARP())]
    pcap_path, pcapng_path = tmp_path / "x.pcap", tmp_path / "x.pcapng"
    for path, writer in (
        (pcap_path, scapy.utils.PcapWriter(str(pcap_path), linktype=ETHERNET)),
        (pcapng_path, scapy.utils.PcapNgWriter(str(pcapng_path))),
    ):
        with writer as file:
            for n, data in enumerate(frames):
                packet = Ether(data)
                packet.time = BASE_S + n
                file.write(packet)
        read = Read([path.read_bytes()], local=LOCAL)
        assert read.totals == twin(map(Packet, raw), local=LOCAL)
        assert read.counters.not_ip == 1


def test_periods_tile_by_capture_time() -> None:
    """Periods begin with the first packet and have one length; empty ones have no message."""
    read = Read([pcap(PACKETS, RAW)])
    assert [(message["start"], message["end"]) for message in read.messages] == [
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:24.999999999Z"),
        ("2023-11-14T22:13:25Z", "2023-11-14T22:13:29.999999999Z"),
        ("2023-11-14T22:13:40Z", "2023-11-14T22:13:44.999999999Z"),
    ]


def test_the_last_nanosecond_is_of_the_period() -> None:
    """A packet 1 ns before the next period counts in this one, the next one does not."""
    edge = BASE_NS + 5 * 10**9
    packets = [replace(PACKETS[0], time_ns=time_ns) for time_ns in (BASE_NS, edge - 1, edge)]
    read = Read([pcap(packets, RAW, nano=True)])
    assert [totals_of([message]) for message in read.messages] == [
        twin(packets[:2]),
        twin(packets[2:]),
    ]


def test_captures_continue_each_other() -> None:
    """Two halves of a capture give what the whole gives; a late packet counts, and is told of."""
    whole = Read([pcap(PACKETS, RAW)])
    halves = Read([pcap(PACKETS[:3], RAW), pcapng(PACKETS[3:], [Interface(SLL)])], local=("::/0",))
    assert [message["start"] for message in halves.messages] == [
        message["start"] for message in whole.messages
    ]
    swapped = Read([pcap(PACKETS[4:], RAW), pcap(PACKETS[:4], RAW)])
    assert swapped.totals == whole.totals
    assert swapped.counters.late == 4


def test_more_connections_than_a_table_holds() -> None:
    """A table that is nearly full is emitted within its period: every connection, none lost."""
    flows = 300_000
    packets = (Packet(udp(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", A, 0)) for n in range(flows))
    text = pcap([], RAW) + b"".join(
        struct.pack("<IIII", BASE_S, 0, len(packet.data), len(packet.data)) + packet.data
        for packet in packets
    )
    read = Read([text], max_flows=131_072)
    assert {message["start"] for message in read.messages} == {"2023-11-14T22:13:20Z"}
    entries = [entry for message in read.messages for entry in message["exitTraffic"]]  # type: ignore[attr-defined]
    assert len({entry["src"] for entry in entries}) == len(entries) == flows
    assert all(entry["txPkts"] == 1 and entry["txBytes"] == 28 for entry in entries)


def test_an_unknown_link_type_is_left_out() -> None:
    """Frames of a link type that netlog does not know are counted, and the number is told."""
    read = Read(
        [pcapng([replace(p, interface=1) for p in PACKETS], [Interface(RAW), Interface(163)])]
    )
    assert (read.messages, read.error) == ([], "")
    assert read.counters == CaptureCounters(unknown_link=6, link_types={163: "163 IEEE802_11_AVS"})


def test_a_truncated_capture_gives_what_is_before() -> None:
    """Cut anywhere, the whole records are counted, and the error names the file and the byte."""
    for text, before in (
        (pcap(PACKETS, RAW), pcap(PACKETS[:-1], RAW)),
        (pcapng(PACKETS, [Interface(RAW)]), pcapng(PACKETS[:-1], [Interface(RAW)])),
    ):
        for cut in range(len(before) + 1, len(text)):
            read = Read([text[:cut]], local=LOCAL)
            assert read.error.startswith("x.pcap: byte ") or cut == len(before) + 24
            assert read.totals == twin(PACKETS[:-1], local=LOCAL)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "x.pcap: byte 0: truncated: expected 4 bytes, got 0"),
        (b"\x1f\x8b\x08\x00abcd", "x.pcap: byte 0: neither pcap nor pcapng, but gzip"),
        (pcap([], RAW)[:20], "x.pcap: byte 0: truncated: expected 24 bytes, got 20"),
        (pcap([], RAW) + struct.pack("<IIII", 0, 0, 1 << 31, 4), "byte 24: packet longer than"),
        (
            pcapng([], []) + b"\x06\0\0\0\x0d\0\0\0" + bytes(9),
            "byte 28: block with an impossible",
        ),
        (pcapng([], []) + block(6, bytes(20)), "byte 28: packet of an interface without"),
        (pcapng([], [Interface(RAW)]) + block(6, bytes(4)), "content of a block is longer than"),
        (pcapng([], [Interface(RAW)] * 4097), "more than 4096 interfaces"),
    ],
    ids=["empty", "gzip", "header", "length", "block", "interface", "short", "many"],
)
def test_a_damaged_capture_is_an_error_with_its_place(text: bytes, error: str) -> None:
    """The error names the file, the byte and what is wrong there."""
    assert error in Read([text]).error


def test_a_large_block_is_read_whole() -> None:
    """A block that is longer than what is read at once is skipped like any other."""
    text = pcapng(PACKETS, [Interface(RAW)])
    middle = len(pcapng(PACKETS[:3], [Interface(RAW)]))
    large = text[:middle] + block(0xBAD, bytes(3_000_000)) + text[middle:]
    assert Read([large]).totals == twin(PACKETS)


FILES = [
    *(pcap(PACKETS, link, order=order) for link in (ETHERNET, RAW, SLL, SLL2) for order in "<>"),
    pcapng(PACKETS, [Interface(SLL, 9)]),
    pcapng(PACKETS, [Interface(ETHERNET)], order=">", kind=2) + pcapng(PACKETS, [Interface(RAW)]),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FILES), st.randoms(use_true_random=False), st.integers(0, 8), st.booleans())
def test_no_damage_does_harm(text: bytes, rng: random.Random, changes: int, cut: bool) -> None:  # noqa: FBT001
    """Whatever is changed or cut off: messages that parse, or an error with its place."""
    damaged = bytearray(text)
    for _ in range(changes):
        damaged[rng.randrange(len(damaged))] = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
        )
    if cut:
        del damaged[rng.randrange(len(damaged)) :]
    read = Read([bytes(damaged)], local=LOCAL)
    assert read.error == "" or read.error.startswith("x.pcap: byte ")
    frames = read.counters
    assert frames.packets + frames.snapped == sum(
        n for (_, name), n in read.totals.items() if name in ("txPkts", "rxPkts")
    )


HOPS = bytes(IPv6(src=A6, dst=B6) / IPv6ExtHdrHopByHop() / UDP(sport=5, dport=6) / bytes(30))
PLAIN = [udp(A, B, 40), udp(B, A, 40), udp(A6, B6, 40), udp(B6, A6, 1200), HOPS]


def mostly(usual: int, others: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    """The usual value three times of four."""
    return st.just(usual) | st.just(usual) | st.just(usual) | others


@st.composite
def records(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, int, bytes]]]:
    """A link, and seconds, fraction, length on the wire and bytes of frames, mostly sound."""
    link = draw(st.sampled_from((ETHERNET, RAW)))
    made = []
    for _ in range(draw(st.integers(1, 6))):
        data = bytearray(frame(Packet(draw(st.sampled_from(PLAIN))), link))
        length = len(data) + draw(mostly(0, st.sampled_from((1, -1, 4000))))
        data += bytes(draw(mostly(0, st.just(4))))
        for _ in range(draw(mostly(0, st.integers(1, 2)))):
            at = draw(st.integers(0, 60) | st.integers(10, 20))
            data[at] = draw(st.integers(0, 255) | st.sampled_from((0, 4, 8, 0x45, 0x60)))
        kept = data[: draw(mostly(len(data), st.integers(0, 68) | st.integers(40, 66)))]
        second = BASE_S + draw(mostly(0, st.integers(-2, 12)))
        made.append((second, draw(st.integers(0, 1 << 20)), length, bytes(kept)))
    return link, made


@settings(max_examples=500, deadline=None)
@given(records(), st.booleans(), st.sampled_from(((), LOCAL)))
def test_byte_order_makes_no_difference(
    capture: tuple[int, list[tuple[int, int, int, bytes]]],
    nano: bool,  # noqa: FBT001
    local: tuple[str, ...],
) -> None:
    """What is taken in one go in this machine's byte order is taken one by one in the other."""
    (link, made), texts = capture, []
    for order in "<>":
        magic = 0xA1B23C4D if nano else 0xA1B2C3D4
        text = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
        for second, fraction, length, kept in made:
            text += struct.pack(order + "IIII", second, fraction, len(kept), length) + kept
        texts.append(text)
    little, big = (Read([text], local=local) for text in texts)
    assert (little.messages, little.error) == (big.messages, big.error)
    assert little.counters == big.counters


@pytest.mark.parametrize(
    "options",
    [{"period_s": 0.0}, {"max_flows": 1000}, {"local": ("nonsense",)}, {"period_s": -1.0}],
    ids=str,
)
def test_wrong_arguments(options: dict[str, object]) -> None:
    """Wrong arguments are refused before anything is read."""
    with pytest.raises(ValueError, match=r"expected|nonsense"):
        Read([], **options)


def netlog(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `netlog read` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "netlog", "read", *arguments],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


CONFIG = f"""
poll_period_s = 60.0
[node]
id = "gateway"
[tun]
name = "tun0"
addresses = ["{A}/32"]
[sock]
listen = "[::]:41641"
[[peers]]
endpoint = "192.0.2.1:1"
allowed_ips = ["{B}/32"]
"""


def test_the_command_reads_files_and_pipes(tmp_path: Path) -> None:
    """A configuration gives node, period, direction and classes; - is standard input."""
    config, capture = tmp_path / "gateway.toml", tmp_path / "x.pcap"
    config.write_text(CONFIG)
    capture.write_bytes(pcap(V4, RAW))
    expected = {
        "nodeId": "gateway",
        "start": "2023-11-14T22:13:20Z",
        "end": "2023-11-14T22:14:19.999999999Z",
        "virtualTraffic": [
            {
                "proto": 17,
                "src": f"{A}:1000",
                "dst": f"{B}:53",
                "txPkts": 2,
                "txBytes": 64,
                "rxPkts": 1,
                "rxBytes": 128,
            }
        ],
        "exitTraffic": [{"txPkts": 1, "txBytes": 29}],
    }
    for arguments, data in (((str(capture),), None), (("-",), capture.read_bytes())):
        done = netlog("--config", str(config), *arguments, data=data)
        assert (done.returncode, done.stderr) == (0, b"")
        assert [json.loads(line) for line in done.stdout.splitlines()] == [expected]


NODES = f"""
[self]
node_id = "gateway"
addresses = ["{A}"]
[[peers]]
node_id = "peer"
name = "peer.example."
addresses = ["{B}"]
"""


def test_the_command_knows_nodes(tmp_path: Path) -> None:
    """A file of nodes decides on class, names and direction, by itself or by a configuration."""
    config, nodes = tmp_path / "gateway.toml", tmp_path / "nodes.toml"
    capture = tmp_path / "x.pcap"
    nodes.write_text(NODES)
    config.write_text(CONFIG + f'[nodes]\nfile = "{nodes}"\n')
    service = Packet(udp(A, "100.100.100.100"), BASE_NS)
    capture.write_bytes(pcap([*V4, Packet(udp(A, "8.8.8.8", 3), BASE_NS), service], RAW))
    expected = {
        "nodeId": "gateway",
        "start": "2023-11-14T22:13:20Z",
        "end": "2023-11-14T22:14:19.999999999Z",
        "srcNode": {"nodeId": "gateway", "addresses": [A]},
        "dstNodes": [{"nodeId": "peer", "name": "peer.example", "addresses": [B]}],
        "virtualTraffic": [
            {
                "proto": 17,
                "src": f"{A}:1000",
                "dst": f"{B}:53",
                "txPkts": 2,
                "txBytes": 64,
                "rxPkts": 1,
                "rxBytes": 128,
            }
        ],
        # somebody else's packet to the peer, and the gateway's own to somewhere
        "exitTraffic": [
            {"dst": f"{B}:0", "txPkts": 1, "txBytes": 29},
            {"src": f"{A}:0", "txPkts": 1, "txBytes": 31},
        ],
    }
    for options in (("--config", str(config)), ("--nodes", str(nodes), "--period", "60")):
        done = netlog(*options, str(capture))
        assert done.returncode == 0
        assert [json.loads(line) for line in done.stdout.splitlines()] == [expected]
        assert done.stderr == b"netlog: 1 packet to the overlay's own services: left out\n"
    done = netlog("--config", str(config), "--exit-traffic", "drop", str(capture))
    assert "exitTraffic" not in json.loads(done.stdout)
    nodes.write_text("[self]")
    done = netlog("--nodes", str(nodes), str(capture))
    assert done.returncode == 2
    assert b"nodes.toml: self.node_id: expected a value, but the key is missing" in done.stderr


def test_the_command_tells_what_is_missing(tmp_path: Path) -> None:
    """Damage and missing files are status 1, and what can be read is written all the same."""
    (tmp_path / "cut.pcap").write_bytes(pcap(PACKETS, ETHERNET)[:-1])
    done = netlog(
        str(tmp_path / "missing.pcap"),
        str(tmp_path / "cut.pcap"),
        "--exit-traffic",
        "log",
        "--node-id",
        "b",
        "--local",
        A,
        "--local",
        A6,
        "--period",
        "3600",
    )
    assert done.returncode == 1
    assert b"missing.pcap: No such file or directory\n" in done.stderr
    assert b"cut.pcap: byte 1" in done.stderr
    (message,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert message["nodeId"] == "b"
    assert totals_of([message]) == twin(PACKETS[:-1], local=LOCAL)


def test_a_wrong_prefix_is_wrong_usage() -> None:
    """The status is 2 and the text names the prefix."""
    for name in ("--local", "--route"):
        done = netlog(name, "10.0.0.0/99", "-", data=b"")
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"10.0.0.0/99" in done.stderr


def test_a_reader_can_be_abandoned() -> None:
    """Closing in the middle of a capture is fine, and so is closing twice."""
    reader = CaptureReader(node_id="a")
    messages = reader.read(io.BytesIO(pcap(PACKETS, RAW)), "x.pcap")
    next(messages)
    assert isinstance(messages, Generator)
    messages.close()
    reader.close()
    reader.close()


def read_live(data: bytes, number: int, rest: bytes = b"") -> tuple[int, list[Any], bytes]:
    """Give `netlog read -` a capture that goes on, a signal, and the rest; status and output.

    The signal is sent when the first period's message shows that the data was read.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "netlog", "read", "--node-id", "a", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(data)
        process.stdin.flush()
        line = process.stdout.readline()
        process.send_signal(number)
        if rest:
            process.stdin.write(rest)
            process.stdin.close()
        end, process.stdin = process.stdin, None  # communicate() would close it
        try:
            text, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            end.close()
    lines = [line, *text.splitlines()]
    return process.returncode, [json.loads(line)["exitTraffic"] for line in lines], errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
@pytest.mark.parametrize("cut", [0, 5], ids=["whole", "cut"])
def test_a_live_capture_is_stopped(number: int, cut: int) -> None:
    """A signal ends a pipe that stays open: the pending period is written, and it is a success."""
    text = pcap(V4, RAW, nano=True) + pcap([replace(V4[0], time_ns=BASE_NS + 10**10)], RAW)[24:]
    status, messages, errors = read_live(text + bytes(cut), number)
    assert (status, errors) == (0, b"")
    assert messages == [[{"txPkts": 4, "txBytes": 221}], [{"txPkts": 1, "txBytes": 36}]]


def test_what_the_other_end_still_writes_is_read() -> None:
    """The tcpdump that got the same Ctrl-C writes what it had buffered, and that counts too."""
    first, last = pcap([V4[0], replace(V4[0], time_ns=BASE_NS + 10**10)], RAW), pcap([V4[1]], RAW)
    status, messages, errors = read_live(first, signal.SIGINT, last[24:])
    assert status == 0
    assert errors == (
        b"netlog: 1 packet older than the current period: counted in the current period\n"
    )
    assert messages == [[{"txPkts": 1, "txBytes": 36}], [{"txPkts": 2, "txBytes": 164}]]


def test_a_file_that_was_not_read_to_its_end_is_no_success(tmp_path: Path) -> None:
    """SIGTERM while a capture is written out: what was read is there, and the status says so."""
    (tmp_path / "x.pcap").write_bytes(pcap(PACKETS[:1], RAW))
    with (tmp_path / "x.pcap").open("ab") as file:
        for n in range(200_000):
            packet = PACKETS[n % 2]
            head = struct.pack("<IIII", BASE_S + 10 * n, 0, len(packet.data), len(packet.data))
            file.write(head + packet.data)
    with subprocess.Popen(
        [sys.executable, "-m", "netlog", "read", str(tmp_path / "x.pcap")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        assert 0 < len(text.splitlines()) < 200_000
        assert all(json.loads(line) for line in text.splitlines())
