"""The kernel judges: its segmentation gives the same bytes, and its TCP takes what was joined."""

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, PadN
from scapy.packet import Raw

from tests.support.namespace import Namespace
from tests.support.offloads import NONE, Super, Vnet, a_hop_on, coalesce, segment, super_of
from tests.support.vnet import ALL_OFFLOADS, RawTun

pytestmark = pytest.mark.root

UDP_SEGMENT = 103
FOUR = IP(src="10.1.0.9", dst="10.2.0.9", id=0xFFF0, ttl=9)
SIX = IPv6(src="fd00:1::9", dst="fd00:2::9", fl=0x12345, hlim=9)
STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
HEADERS = {
    "tcp4": FOUR / TCP(sport=1, dport=2, seq=0xFFFFF000, ack=7, flags="FPAE", options=STAMPS),
    "tcp4-urgent": FOUR / TCP(sport=1, dport=2, flags="PAU", urgptr=77),
    "tcp4-options": IP(src="10.1.0.9", dst="10.2.0.9", options=[IPOption_NOP()] * 8, id=3)
    / TCP(sport=1, dport=2, flags="A"),
    "tcp6": SIX / TCP(sport=1, dport=2, seq=9, flags="PA", options=STAMPS),
    "tcp6-extension": SIX
    / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))])
    / TCP(sport=1, dport=2, flags="FA"),
    "udp4": FOUR / UDP(sport=5, dport=6),
    "udp6": SIX / UDP(sport=5, dport=6),
}

SOURCES = {4: FOUR.copy().build()[12:16], 6: SIX.copy().build()[8:24]}
"""A kernel that forwards has things to say about multicast, too."""


@contextmanager
def router() -> Iterator[tuple[RawTun, RawTun]]:
    """A kernel that forwards from a TUN with offloads to one without, and so segments."""
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace())
        namespace.sysctl("net/ipv4/ip_forward", 1)
        namespace.sysctl("net/ipv6/conf/all/forwarding", 1)
        into = RawTun(namespace, "in0", "10.1.0.1/16", "fd00:1::1/64", offloads=ALL_OFFLOADS)
        stack.enter_context(into)
        out = RawTun(namespace, "out0", "10.2.0.1/16", "fd00:2::1/64", offloads=None)
        yield into, stack.enter_context(out)


@pytest.fixture(name="through", scope="module")
def _through() -> Iterator[Callable[[Super, int], list[bytes]]]:
    with router() as (into, out):

        def through(packet: Super, n: int) -> list[bytes]:
            into.write(packet)
            got: list[bytes] = []
            while len(got) < n and (one := out.read()) is not None:
                if SOURCES[one.packet[0] >> 4] in one.packet[:40]:
                    got.append(one.packet)
            return got

        yield through


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize(
    ("payload_bytes", "gso_size"),
    [(1, 0), (1400, 0), (2, 1), (1001, 1000), (2000, 1000), (30001, 1400), (64000, 1400), (64, 1)],
)
def test_segments_are_the_kernels(
    through: Callable[[Super, int], list[bytes]], kind: str, payload_bytes: int, gso_size: int
) -> None:
    """What the kernel makes of a super-packet that it forwards is what we make of it."""
    packet = bytes(HEADERS[kind].copy() / Raw(os.urandom(payload_bytes)))
    whole = super_of(packet, gso_size)
    ours = segment(whole.vnet, whole.packet)
    assert not isinstance(ours, int)
    assert len(ours) == (-(-payload_bytes // gso_size) if gso_size else 1)
    assert through(whole, len(ours)) == [a_hop_on(one) for one in ours]


@contextmanager
def joined(outcome: list[Super], *, join: bool) -> Iterator[tuple[Namespace, Namespace]]:
    """Two hosts whose super-packets are segmented on the way, and coalesced again or not.

    Args:
        outcome: what was handed over by either kernel is added to it.
        join: whether the receiving kernel gets super-packets.
    """
    with ExitStack() as stack:
        hosts = (stack.enter_context(Namespace()), stack.enter_context(Namespace()))
        tuns = []
        for number, host in enumerate(hosts, 1):
            tun = RawTun(
                host, "tun0", f"10.9.0.{number}/24", f"fd00:9::{number}/64", offloads=ALL_OFFLOADS
            )
            tuns.append(stack.enter_context(tun))
        stop = threading.Event()
        threads = [
            threading.Thread(target=carry, args=(*pair, outcome, stop), kwargs={"join": join})
            for pair in (tuns, tuns[::-1])
        ]
        for thread in threads:
            thread.start()
        try:
            yield hosts
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def carry(
    source: RawTun, sink: RawTun, outcome: list[Super], stop: threading.Event, *, join: bool
) -> None:
    """Move packets one way until told to stop."""
    while not stop.is_set():
        packet = source.read(0.05)
        if packet is None:
            continue
        outcome.append(packet)
        pieces = segment(packet.vnet, packet.packet)
        assert not isinstance(pieces, int), f"fault {pieces}"
        for one in coalesce(pieces) if join else [Super(Vnet(), piece) for piece in pieces]:
            sink.write(one)


def errors(host: Namespace) -> dict[str, int]:
    """Return what the kernel counts of packets that it found wrong."""
    names = ("InCsumErrors", "InErrors", "InErrs", "InHdrErrors")
    return {name: count for name, count in host.snmp().items() if name.endswith(names) and count}


@pytest.mark.parametrize("join", [False, True], ids=["segments", "joined"])
@pytest.mark.parametrize("address", ["10.9.0.2", "fd00:9::2"], ids=["ipv4", "ipv6"])
def test_tcp_stream(address: str, join: bool) -> None:  # noqa: FBT001 - pytest's own
    """A stream arrives intact both ways, from super-packets, and no checksum is wrong."""
    data = os.urandom(4 << 20)
    outcome: list[Super] = []
    with joined(outcome, join=join) as (left, right), ExitStack() as stack:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with right.entered():
            listener = stack.enter_context(socket.create_server((address, 9), family=family))
        with left.entered():
            client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.settimeout(20)
        client.settimeout(20)
        client.connect((address, 9))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(20)
        for sender, receiver in ((client, server), (server, client)):
            assert digest_of(receiver, len(data), sender, data) == hashlib.sha256(data).digest()
        assert errors(left) == errors(right) == {}
    supers = [one for one in outcome if one.vnet.gso_type != NONE]
    assert sum(len(one.packet) for one in supers) > len(data)


def digest_of(receiver: socket.socket, n: int, sender: socket.socket, data: bytes) -> bytes:
    """Send data, and return the digest of the n bytes that arrive."""
    thread = threading.Thread(target=sender.sendall, args=(data,))
    thread.start()
    digest, left = hashlib.sha256(), n
    while left:
        part = receiver.recv(min(left, 1 << 16))
        assert part
        digest.update(part)
        left -= len(part)
    thread.join()
    return digest.digest()


@pytest.mark.parametrize("join", [False, True], ids=["segments", "joined"])
@pytest.mark.parametrize("address", ["10.9.0.2", "fd00:9::2"], ids=["ipv4", "ipv6"])
def test_datagrams(address: str, join: bool) -> None:  # noqa: FBT001 - pytest's own
    """Datagrams that UDP_SEGMENT sent arrive each whole, in order, and no checksum is wrong."""
    outcome: list[Super] = []
    payload = os.urandom(40 * 1200 + 7)
    with joined(outcome, join=join) as (left, right), ExitStack() as stack:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with right.entered():
            receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        with left.entered():
            sender = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        receiver.bind((address, 9))
        receiver.settimeout(20)
        sender.connect((address, 9))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
        assert sender.send(payload) == len(payload)
        got = [receiver.recv(65535) for _ in range(41)]
        assert got == [payload[at : at + 1200] for at in range(0, len(payload), 1200)]
        assert errors(left) == errors(right) == {}
    assert [one.vnet.gso_size for one in outcome] == [1200]


def test_a_wrong_sum_would_be_seen() -> None:
    """The counters that the other tests trust do move: one damaged segment is counted."""
    with joined([], join=False) as (_, right):
        whole = super_of(bytes(IP(src="10.9.0.1", dst="10.9.0.2") / UDP(dport=9) / b"abc"), 0)
        (packet,) = segment(whole.vnet, whole.packet)  # type: ignore[misc]
        with RawTun(right, "tun1", offloads=ALL_OFFLOADS) as tun:
            tun.write(Super(Vnet(), packet[:-1] + b"x"))
            assert errors(right) == {"UdpInCsumErrors": 1, "UdpInErrors": 1}
