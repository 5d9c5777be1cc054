"""The relay against the kernel: real TUNs, real UDP sockets, namespaces of their own."""

import functools
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from netlog import Count, Peer, Relay, SockDevice
from tests.support.checked import Checked
from tests.support.gateways import (
    PORT,
    Gateway,
    have_crossed,
    kernel_totals,
    pair,
    taken,
    tcp_is_over,
    totals,
)
from tests.support.namespace import wait_for
from tests.support.wire import captured
from tests.system.crossing import exchange, stream

pytestmark = pytest.mark.root


@pytest.fixture(name="gateways", params=[False, True], ids=["plain", "offload"])
def _gateways(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Gateway]]:
    with pair(offload=request.param) as both:
        yield both


@pytest.mark.parametrize("outer", [4, 6])
def test_meter_equals_kernel(outer: Literal[4, 6]) -> None:
    """Packets and bytes at TUN and socket are the kernel's, over IPv4 and IPv6, both ways."""
    with pair(outer) as (a, b):
        before = [side.namespace.snmp() for side in (a, b)]
        relays = [a.relay(), b.relay()]
        with relays[0], relays[1]:
            for address in (b.overlay4, b.overlay6):
                exchange(a, b, address, rounds=200, payload_bytes=600)
                stream(a, b, address, total_bytes=3_000_000)
            wait_for(lambda: have_crossed(*relays), "the last TCP packets have crossed")
        for side, relay, was in zip((a, b), relays, before, strict=True):
            kernel = kernel_totals(side.namespace.counters("tun0"))
            tun, sock = taken(side.meter)
            counters = relay.counters()
            assert tun == kernel
            assert sock == kernel
            assert (counters.tx, counters.rx) == (Count(*kernel[:2]), Count(*kernel[2:]))
            assert not any(count.packets for count in counters.tx_dropped.values())
            assert not any(count.packets for count in counters.rx_dropped.values())
            assert kernel[0] > 2000 or kernel[2] > 2000
            # What the outer sockets carried; the inner ones' datagrams are 200 each way and family.
            now, name = side.namespace.snmp(), "Udp" if outer == 4 else "Udp6"
            assert now[f"{name}OutDatagrams"] - was[f"{name}OutDatagrams"] == kernel[0] + 200
            assert now[f"{name}InDatagrams"] - was[f"{name}InDatagrams"] == kernel[2] + 200


def test_points_agree_in_every_epoch(gateways: tuple[Gateway, Gateway]) -> None:
    """However often the tables are swapped, TUN and socket carry the same in each epoch."""
    a, b = gateways
    for side in (a, b):
        side.namespace.ip("link set tun0 mtu 1420")  # a datagram is no fragments
    done = threading.Event()
    epochs: dict[int, list[tuple[int, int, int, int]]] = {1: [], 2: []}

    def poll(side: Gateway) -> None:
        while not done.is_set():
            snapshot = side.meter.snapshot(timeout_s=20)
            side.meter.clear()
            assert snapshot.late_lanes == 0
            assert totals(snapshot.tun_rows()) == totals(snapshot.sock_rows())
            epochs[side.number].append(totals(snapshot.tun_rows()))

    with (
        captured(a.namespace, b.namespace, PORT) as captures,
        a.relay() as left,
        b.relay() as right,
    ):
        pollers = [Checked(functools.partial(poll, side)) for side in (a, b)]
        stream(a, b, b.overlay4, total_bytes=8_000_000)
        stream(b, a, a.overlay6, total_bytes=8_000_000)
        wait_for(lambda: tcp_is_over(a, b), "the last acknowledgement came")
        wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
    done.set()
    for poller, side, relay, capture in zip(pollers, (a, b), (left, right), captures, strict=True):
        poller.finish()
        tun, sock = taken(side.meter)
        assert tun == sock
        busy = [epoch for epoch in epochs[side.number] if any(epoch)]
        assert len(busy) > 10
        summed = tuple(sum(column) for column in zip(*busy, tun, strict=True))
        moved = relay.counters()
        assert summed == (moved.tx.packets, moved.tx.bytes, moved.rx.packets, moved.rx.bytes)
        assert summed == tuple(capture.totals)
        if not side.tun.offloads:  # the kernel counts a super-packet as one
            assert summed == kernel_totals(side.namespace.counters("tun0"))


def test_large_packets_in_small_links(gateways: tuple[Gateway, Gateway]) -> None:
    """A packet that needs several outer fragments is one datagram, and counts once."""
    a, b = gateways
    for side in (a, b):
        side.namespace.ip("link set tun0 mtu 65535")
    with a.relay() as relay, b.relay():
        # 65507 - 28: the longest inner packet that fits in one outer IPv4 datagram.
        exchange(a, b, b.overlay4, rounds=3, payload_bytes=65479)
    assert relay.counters().tx == Count(3, 3 * 65507)
    assert taken(a.meter) == ((3, 3 * 65507, 3, 3 * 65507),) * 2


def inner4(source: str, destination: str, payload: bytes = b"") -> bytes:
    """An IPv4 packet of protocol 253 (RFC 3692: for experiments)."""
    total = 20 + len(payload)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, 64, 253, 0)
    return head + addresses + payload


def inner6(source: str, destination: str, payload: bytes = b"") -> bytes:
    """An IPv6 packet of protocol 253."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), 253, 64)
    addresses = (socket.inet_pton(socket.AF_INET6, text) for text in (source, destination))
    return head + b"".join(addresses) + payload


RX_CASES = [
    # reason or None, whether from the peer or from another port or address, the datagram
    (None, "peer", inner4("100.64.0.2", "100.64.0.1", b"abc")),
    (None, "peer", inner6("fd00:64::2", "fd00:64::1", b"abc")),
    (None, "peer", inner4("100.64.0.2", "100.64.0.1") + b"behind the packet's end"),
    ("unknown_endpoint", "port", inner4("100.64.0.2", "100.64.0.1")),
    ("unknown_endpoint", "address", inner4("100.64.0.2", "100.64.0.1")),
    ("unknown_endpoint", "port", b""),
    ("source_not_allowed", "peer", inner4("100.64.0.3", "100.64.0.1")),
    ("source_not_allowed", "peer", inner4("100.64.0.1", "100.64.0.2")),
    ("source_not_allowed", "peer", inner6("fd00:64::3", "fd00:64::1")),
    ("source_not_allowed", "peer", inner6("::ffff:100.64.0.2", "fd00:64::1")),
    ("malformed", "peer", b""),
    ("malformed", "peer", inner4("100.64.0.2", "100.64.0.1")[:19]),
    ("malformed", "peer", inner4("100.64.0.2", "100.64.0.1", b"abc")[:22]),
    ("malformed", "peer", inner6("fd00:64::2", "fd00:64::1")[:39]),
    ("malformed", "peer", inner6("fd00:64::2", "fd00:64::1", b"abc")[:42]),
    ("not_ip", "peer", b"\x00" * 40),
    ("not_ip", "peer", b"\x75" + b"\x00" * 40),
]


def test_drops_of_datagrams(gateways: tuple[Gateway, Gateway]) -> None:
    """A datagram goes into the TUN only from a known peer with a source of its own; all count."""
    a, b = gateways
    expected: dict[str | None, list[int]] = {}
    at = ("192.0.2.1", PORT)
    b.namespace.ip("addr add 192.0.2.22/24 dev lan0")
    peers = [Peer("192.0.2.2:6000", ("100.64.0.2", "fd00:64::2"))]
    with (
        b.udp("192.0.2.2", 6000) as peer,
        b.udp("192.0.2.2", 6001) as other_port,
        b.udp("192.0.2.22", 6000) as other_address,
        Relay(a.tun, a.sock, peers) as relay,
    ):
        senders = {"peer": peer, "port": other_port, "address": other_address}
        for reason, sender, payload in RX_CASES:
            senders[sender].sendto(payload, at)
            count = expected.setdefault(reason, [0, 0])
            count[0] += 1
            count[1] += len(payload)
        wait_for(lambda: _rx_seen(relay) == len(RX_CASES), "the relay has seen all datagrams")
        counters = relay.counters()
    for reason, dropped in counters.rx_dropped.items():
        assert (reason, dropped) == (reason, Count(*expected.pop(reason, (0, 0))))
    assert counters.rx == Count(*expected.pop(None))
    assert not expected
    (tun, sock) = taken(a.meter)
    # The kernel may answer what it does not understand: that is the tx side's business.
    assert tun == kernel_totals(a.namespace.counters("tun0"))
    assert tun[2:] == (counters.rx.packets, counters.rx.bytes)
    assert sock[2:] == (len(RX_CASES), sum(len(payload) for _, _, payload in RX_CASES))


def _rx_seen(relay: Relay) -> int:
    counters = relay.counters()
    return counters.rx.packets + sum(count.packets for count in counters.rx_dropped.values())


def _tx_seen(relay: Relay) -> int:
    counters = relay.counters()
    return counters.tx.packets + sum(count.packets for count in counters.tx_dropped.values())


def test_drops_of_packets(gateways: tuple[Gateway, Gateway]) -> None:
    """A packet that no peer has, or that cannot be sent, is dropped behind the TUN's count."""
    a, b = gateways
    # No route leads to the second peer, so the kernel refuses what is sent there.
    a.peers.append(Peer(f"198.51.100.1:{PORT}", ("100.64.0.9",)))
    with a.relay() as relay, a.udp(a.overlay4) as user:
        for last, length in ((2, 10), (9, 20), (77, 30), (77, 40), (9, 50), (2, 60)):
            user.sendto(bytes(length), (f"100.64.0.{last}", 9))
        wait_for(lambda: _tx_seen(relay) == 6, "the relay has seen all packets")
        counters = relay.counters()
    assert counters.tx == Count(2, 10 + 60 + 2 * 28)
    dropped = {reason: count for reason, count in counters.tx_dropped.items() if count.packets}
    assert dropped == {
        "no_peer": Count(2, 30 + 40 + 2 * 28),
        "send_failed": Count(2, 20 + 50 + 2 * 28),
    }
    tun, sock = taken(a.meter)
    assert tun == kernel_totals(a.namespace.counters("tun0")) == (6, 210 + 6 * 28, 0, 0)
    assert sock == (2, 70 + 2 * 28, 0, 0)
    assert b.sock.recvfrom(20)[0][28:] == bytes(10)
    assert b.sock.recvfrom(20)[0][28:] == bytes(60)


def test_send_queue_full(gateways: tuple[Gateway, Gateway]) -> None:
    """What does not fit into the socket's queue is dropped by its own reason, the rest goes on."""
    a, _ = gateways
    with a.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least: 4608
        small.bind(("192.0.2.1", 0))
        device = SockDevice.from_socket(small, meter=a.meter)
    # Nobody has that address: datagrams wait for its resolution and fill the queue meanwhile.
    peer = Peer(f"192.0.2.99:{PORT}", ("100.64.0.9",))
    with device, Relay(a.tun, device, [peer]) as relay, a.udp(a.overlay4) as user:
        for _ in range(20):
            user.sendto(bytes(1000), ("100.64.0.9", 9))
        wait_for(lambda: _tx_seen(relay) == 20, "the relay has seen all packets")
        counters = relay.counters()
        relay.stop()
        tun, sock = taken(a.meter)
    full = counters.tx_dropped["send_queue_full"]
    assert full.packets > 0
    assert full.packets + counters.tx.packets == 20
    assert full.bytes == full.packets * 1028
    assert tun == (20, 20 * 1028, 0, 0)
    assert sock == (counters.tx.packets, counters.tx.bytes, 0, 0)


def test_write_failed(gateways: tuple[Gateway, Gateway]) -> None:
    """What the TUN refuses is dropped and not counted there; the relay goes on when it is back."""
    a, b = gateways
    packet = inner4("100.64.0.2", "100.64.0.1", b"abc")
    with a.relay() as relay:
        a.namespace.ip("link set tun0 down")
        b.sock.sendto(packet, ("192.0.2.1", PORT))
        wait_for(lambda: _rx_seen(relay) == 1, "the relay has seen the first datagram")
        a.namespace.ip("link set tun0 up")
        b.sock.sendto(packet, ("192.0.2.1", PORT))
        wait_for(lambda: _rx_seen(relay) == 2, "the relay has seen the second datagram")
        counters = relay.counters()
        assert relay.running
    assert counters.rx == Count(1, 23)
    assert counters.rx_dropped["write_failed"] == Count(1, 23)
    tun, sock = taken(a.meter)
    assert tun == kernel_totals(a.namespace.counters("tun0"))
    assert (tun[2:], sock[2:]) == ((1, 23), (2, 46))


def test_longest_prefix_decides(gateways: tuple[Gateway, Gateway]) -> None:
    """Overlapping prefixes: the longest one says where a packet goes and who may send it."""
    a, b = gateways
    with b.udp("192.0.2.2", 6000) as wide, b.udp("192.0.2.2", 6001) as narrow:
        peers = [
            Peer("192.0.2.2:6000", ("100.64.0.0/24",)),
            Peer("192.0.2.2:6001", ("100.64.0.64/26",)),
        ]
        with Relay(a.tun, a.sock, peers) as relay, a.udp(a.overlay4) as user:
            user.sendto(b"wide", ("100.64.0.63", 9))
            user.sendto(b"narrow", ("100.64.0.64", 9))
            assert wide.recv(2000)[28:] == b"wide"
            assert narrow.recv(2000)[28:] == b"narrow"
            wide.sendto(inner4("100.64.0.64", "100.64.0.1"), ("192.0.2.1", PORT))
            narrow.sendto(inner4("100.64.0.64", "100.64.0.1"), ("192.0.2.1", PORT))
            wait_for(lambda: _rx_seen(relay) == 2, "the relay has seen both datagrams")
            counters = relay.counters()
    assert counters.rx == Count(1, 20)
    assert counters.rx_dropped["source_not_allowed"] == Count(1, 20)


def test_statistics_switch(gateways: tuple[Gateway, Gateway]) -> None:
    """A device whose statistics are disabled moves packets uncounted; enabled, it counts again."""
    a, b = gateways
    with a.relay() as relay, b.relay():
        for tun_counts, sock_counts in ((False, False), (True, False), (False, True), (True, True)):
            a.tun.set_statistics_enabled(tun_counts)
            a.sock.set_statistics_enabled(sock_counts)
            exchange(a, b, b.overlay4, rounds=5, payload_bytes=72)
            five = (5, 500, 5, 500)
            nothing = (0, 0, 0, 0)
            expected = (five if tun_counts else nothing, five if sock_counts else nothing)
            assert taken(a.meter) == expected
    assert relay.counters().tx == Count(20, 2000)
