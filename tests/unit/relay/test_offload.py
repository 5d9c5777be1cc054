"""Offloads without root: what comes through a socket pair as it comes from a TUN, and UDP_GRO."""

import dataclasses
import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP

from netlog import Count, Meter, PacketBatch, Peer, Relay, SockDevice, TunDevice
from tests.support.namespace import wait_for
from tests.support.offloads import Super, Vnet, coalesce, super_of, twin_segments

UDP_SEGMENT, UDP_GRO = 103, 104
ALL = frozenset({"checksum", "tso", "uso"})
THERE = bytes(IP(src="10.0.0.1", dst="10.0.0.2", id=5) / TCP(flags="PA") / os.urandom(5000))
BACK = bytes(IP(src="10.0.0.2", dst="10.0.0.1", id=5) / UDP() / os.urandom(5000))


@pytest.fixture(name="meter")
def _meter() -> Iterator[Meter]:
    with Meter() as meter:
        yield meter


@pytest.fixture(name="stack")
def _stack(meter: Meter) -> Iterator[tuple[TunDevice, socket.socket]]:
    """A device with offloads, and the kernel's end of it."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_blocking(one.fileno(), False)
    other.settimeout(20)
    with other, TunDevice(one.detach(), "pipe0", meter, ALL) as tun:
        yield tun, other


def counted(meter: Meter) -> tuple[list[int], list[int]]:
    """Return packets and bytes (tx, rx) that have a connection, and that have none."""
    snapshot = meter.snapshot(timeout_s=20)
    meter.clear()
    rows = snapshot.tun_rows()
    names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    known = rows["version"] != 0
    return (
        [int(rows[known][name].sum()) for name in names],
        [int(rows[~known][name].sum()) for name in names],
    )


def test_through_a_relay(meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """A super-packet leaves as a packet a datagram; datagrams in a row come back as one."""
    tun, kernel = stack
    out, back = twin_segments(THERE, 1000), twin_segments(BACK, 1000)
    with (
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        at = f"127.0.0.1:{peer.getsockname()[1]}"
        with Relay(tun, sock, [Peer(at, ("10.0.0.2",))]) as relay:
            kernel.send(bytes(super_of(THERE, 1000)))
            assert [peer.recv(2000) for _ in out] == out
            peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(back[0]))
            peer.sendto(b"".join(back), sock.address)
            assert [Super.parse(kernel.recv(65535))] == coalesce(back)
    counters = relay.counters()
    sent, received = sum(map(len, out)), sum(map(len, back))
    assert (counters.tx, counters.rx) == (Count(len(out), sent), Count(len(back), received))
    assert counted(meter) == ([len(out), sent, len(back), received], [0] * 4)


def test_another_header(meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """A header of the other byte order, and longer, is read and written so."""
    tun, kernel = stack
    tun.handle.swapped, tun.handle.header_more = True, 2
    other = struct.Struct(">BBHHHH2x" if sys.byteorder == "little" else "<BBHHHH2x")

    def framed(whole: Super) -> bytes:
        return other.pack(*dataclasses.astuple(whole.vnet)) + whole.packet

    out, back = twin_segments(THERE, 1000), twin_segments(BACK, 1000)
    with (
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        with Relay(tun, sock, [Peer(f"127.0.0.1:{peer.getsockname()[1]}", ("10.0.0.2",))]):
            kernel.send(framed(super_of(THERE, 1000)))
            assert [peer.recv(2000) for _ in out] == out
            peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(back[0]))
            peer.sendto(b"".join(back), sock.address)
            assert kernel.recv(65535) == framed(coalesce(back)[0])
    tun.write(BACK)
    assert kernel.recv(65535) == bytes(12) + BACK


def test_each_datagram_is_judged(meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """Of datagrams that come as one, each goes on or is dropped by itself, with its own reason."""
    tun, kernel = stack
    one, two = (
        bytes(IP(src="10.0.0.2", dst="10.0.0.1", id=i) / UDP() / bytes(72)) for i in range(2)
    )
    other = bytes(IP(src="10.0.0.3", dst="10.0.0.1") / UDP() / bytes(72))
    short = one[:2] + b"\0\x65" + one[4:]
    sent = [one, other, bytes(100), two, short, other[:-1]]
    with (
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        at = f"127.0.0.1:{peer.getsockname()[1]}"
        with Relay(tun, sock, [Peer(at, ("10.0.0.2",))]) as relay:
            peer.sendto(b"".join(sent), sock.address)
            assert [Super.parse(kernel.recv(65535))] == coalesce([one, two])
    counters = relay.counters()
    assert counters.rx == Count(2, 200)
    dropped = {reason: count for reason, count in counters.rx_dropped.items() if count.packets}
    assert dropped == {
        "source_not_allowed": Count(1, 100),
        "not_ip": Count(1, 100),
        "malformed": Count(2, 199),
    }
    assert counted(meter) == ([0, 0, 2, 200], [0] * 4)


def test_drops_count_as_on_the_wire(meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """A super-packet that no peer has counts as its segments."""
    tun, kernel = stack
    peers = [Peer("127.0.0.1:9", ("10.0.0.2",))]
    nobodys = bytes(IP(src="10.0.0.1", dst="10.0.0.9") / TCP(flags="A") / bytes(5000))
    with (
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True) as sock,
        Relay(tun, sock, peers) as relay,
    ):
        kernel.send(bytes(super_of(nobodys, 1000)))
        wait_for(lambda: relay.counters().tx_dropped["no_peer"].packets > 0, "it is dropped")
    counters = relay.counters()
    assert counters.tx_dropped["no_peer"] == Count(5, 5 * 1040)
    assert counted(meter) == ([5, 5 * 1040, 0, 0], [0] * 4)


CORRUPT = {
    "gso-size-0": Vnet(1, 1, 40, 0, 20, 16),
    "unknown-type": Vnet(1, 9, 40, 1000, 20, 16),
    "ecn": Vnet(1, 0x81, 40, 1000, 20, 16),
    "headers-beyond": Vnet(1, 1, 65535, 1000, 20, 16),
    "start-beyond": Vnet(1, 1, 40, 1000, 65535, 16),
    "offset-beyond": Vnet(1, 0, 0, 0, 20, 65535),
    "no-partial-checksum": Vnet(0, 1, 40, 1000, 0, 0),
    "other-version": Vnet(1, 4, 40, 1000, 20, 16),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_headers(name: str, meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """What cannot be segmented goes nowhere, and is unattributed; what comes next goes on."""
    tun, kernel = stack
    with (
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True) as sock,
        SockDevice.bind("127.0.0.1", 0) as peer,
        Relay(tun, sock, [Peer(f"127.0.0.1:{peer.address[1]}", ("10.0.0.2",))]) as relay,
    ):
        kernel.send(bytes(Super(CORRUPT[name], THERE)))
        kernel.send(bytes(Super(Vnet(), THERE)))
        assert peer.recvfrom(20)[0] == THERE
        wait_for(lambda: relay.counters().tx.packets == 1, "the second has gone")
    counters = relay.counters()
    assert counters.tx_dropped["malformed"] == Count(1, len(THERE))
    assert counted(meter) == ([1, len(THERE), 0, 0], [1, len(THERE), 0, 0])
    assert counted(meter) == ([0] * 4, [0] * 4)


@pytest.mark.parametrize("length", range(1, 11))
def test_no_packet_behind_the_header(
    length: int, meter: Meter, stack: tuple[TunDevice, socket.socket]
) -> None:
    """A virtio header that is cut, or has nothing behind it, is counted and handed to nobody."""
    tun, kernel = stack
    kernel.send(bytes(Vnet(1, 1, 1, 1, 1, 1))[:length])
    kernel.send(bytes(Super(Vnet(), THERE)))
    assert tun.read(20) == THERE
    assert counted(meter) == ([1, len(THERE), 0, 0], [1, 0, 0, 0])


def test_readers_take_their_time(meter: Meter, stack: tuple[TunDevice, socket.socket]) -> None:
    """Segments that did not fit into one call come with the next, counted once, with the first."""
    tun, kernel = stack
    whole = super_of(THERE, 100)
    segments = twin_segments(THERE, 100)
    kernel.send(bytes(whole))
    batch = PacketBatch(7, 200)
    got: list[bytes] = []
    for _ in range(8):
        assert tun.read_batch(batch, timeout_s=20) == min(7, 50 - len(got))
        got += [bytes(batch.packet(i)) for i in range(batch.count)]
    assert got == segments
    assert tun.read_batch(batch) == 0
    assert counted(meter)[0] == [50, sum(map(len, segments)), 0, 0]


def test_datagrams_come_one_by_one() -> None:
    """What UDP_GRO put together is handed over and counted as the datagrams that were sent."""
    payload = os.urandom(30 * 1000 + 1)
    with (
        SockDevice.bind("127.0.0.1", 0, offload=True) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        assert sock.offloads == {"gro", "segment"}
        peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        peer.bind(("127.0.0.1", 0))
        peer.sendto(payload, sock.address)
        peer.sendto(b"", sock.address)
        batch, got = PacketBatch(4, 2000), list[bytes]()
        while len(got) < 32:
            assert sock.recv_batch(batch, timeout_s=20)
            got += [bytes(batch.packet(i)) for i in range(batch.count)]
        assert [len(one) for one in got] == [1000] * 30 + [1, 0]
        assert b"".join(got) == payload
        (row,) = sock.extract_statistics()
        assert (row["rx_packets"], row["rx_bytes"]) == (32, len(payload))
        assert int(row["dst_port"]) == peer.getsockname()[1]


CONTROL = {
    "none": (),
    # asm-generic/socket.h: SO_TIMESTAMPNS, SO_TIMESTAMPING (receive, software, packet information),
    # SO_RXQ_OVFL, SO_RCVMARK; IP_PKTINFO, IP_RECVTOS.
    "all": ((1, 35, 1), (1, 37, 8 | 16 | 8192), (1, 40, 1), (1, 75, 1), (0, 8, 1), (0, 13, 1)),
}


@pytest.mark.parametrize("control", CONTROL)
def test_a_socket_of_somebody_else(control: str) -> None:
    """UDP_GRO of its own is honoured, whatever else its owner wants to know of each datagram."""
    payload = os.urandom(30 * 1000 + 1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        own.bind(("127.0.0.1", 0))
        own.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        for option in CONTROL[control]:
            own.setsockopt(*option)
        peer.bind(("127.0.0.1", 0))
        peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        peer.sendto(payload, own.getsockname())
        message = own.recvmsg(65536, 1024, socket.MSG_PEEK)
        assert len(message[0]) == len(payload)
        assert len(message[1]) >= max(1, len(CONTROL[control]))
        with SockDevice.from_socket(own) as sock:
            assert sock.offloads == {"gro"}
            batch = PacketBatch(64, 2000)
            assert sock.recv_batch(batch, timeout_s=20) == 31
            assert b"".join(bytes(batch.packet(i)) for i in range(31)) == payload
            (row,) = sock.extract_statistics()
            assert (row["rx_packets"], row["rx_bytes"]) == (31, len(payload))


@pytest.mark.parametrize("offload", [False, True])
def test_a_relay_on_somebodys_socket(
    offload: bool,  # noqa: FBT001 - pytest's own
    meter: Meter,
    stack: tuple[TunDevice, socket.socket],
) -> None:
    """Only if asked to, a relay sends several datagrams as one; no option of the socket is set."""
    tun, kernel = stack
    out = twin_segments(THERE, 1000)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        own.bind(("127.0.0.1", 0))
        for each in (own, peer):
            each.settimeout(20)
        peer.bind(("127.0.0.1", 0))
        peer.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        at = f"127.0.0.1:{peer.getsockname()[1]}"
        with (
            SockDevice.from_socket(own, meter=meter, offload=offload) as sock,
            Relay(tun, sock, [Peer(at, ("10.0.0.2",))]),
        ):
            assert sock.offloads == ({"segment"} if offload else set())
            kernel.send(bytes(super_of(THERE, 1000)))
            expected = [b"".join(out)] if offload else out
            assert [peer.recv(65535) for _ in expected] == expected
        for option in (UDP_GRO, UDP_SEGMENT):
            assert own.getsockopt(socket.IPPROTO_UDP, option) == 0
