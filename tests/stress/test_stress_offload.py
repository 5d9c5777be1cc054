"""Relays with offloads on one meter, in threads of their own, against a poller that never rests."""

from __future__ import annotations

import functools
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from scapy.layers.inet import IP, TCP, UDP

import netlog
from tests.support.checked import Checked
from tests.support.meter_twin import NOTHING, MeterTwin, connections
from tests.support.offloads import super_of, twin_segments

if TYPE_CHECKING:
    from tests.support.decoder import Connection
    from tests.support.meter_twin import Counts

RELAYS = 3
UDP_SEGMENT = 103
ALL = frozenset({"checksum", "tso", "uso"})
PAYLOAD = bytes(20_000)
EPOCHS = 60


class World:
    """A relay between a socket pair, which stands for the TUN, and a peer on loopback.

    Super-packets of two connections go out, and come back as datagrams that were sent as one; what
    is under way at a time fits into all queues.
    """

    def __init__(self, number: int, meter: netlog.Meter, stack: ExitStack) -> None:
        one, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one.setblocking(False)  # noqa: FBT003 - the standard library's own
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tun = netlog.TunDevice(one.detach(), f"pipe{number}", meter, ALL)
        self.sock = netlog.SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True)
        for each in (self.kernel, self.peer, tun, self.sock):
            stack.enter_context(each)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for each in (self.kernel, self.peer):
            each.settimeout(20)
        here, there = f"10.{number}.0.1", f"10.{number}.0.2"
        self.out = [
            (bytes(IP(src=here, dst=there, id=5) / layer / PAYLOAD), size)
            for layer, size in ((TCP(sport=5, flags="A"), 1000), (UDP(sport=6, dport=7), 700))
        ]
        self.back = bytes(IP(src=there, dst=here, id=5) / UDP(sport=7, dport=6) / PAYLOAD)
        at = f"127.0.0.1:{self.peer.getsockname()[1]}"
        self.relay = netlog.Relay(tun, self.sock, [netlog.Peer(at, (there,))])
        stack.enter_context(self.relay)
        self.rounds = 0

    def dropped(self) -> list[netlog.Count]:
        """Return what was dropped, if anything was."""
        counters = self.relay.counters()
        counts = [*counters.tx_dropped.values(), *counters.rx_dropped.values()]
        return [count for count in counts if count.packets]

    def carry(self, enough: threading.Event) -> None:
        """Send everything there and back, again and again."""
        supers = [bytes(super_of(*each)) for each in self.out]
        there = sum(len(twin_segments(*each)) for each in self.out)
        back = twin_segments(self.back, 900)
        self.peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, len(back[0]))
        while not enough.is_set():
            self.rounds += 1
            for whole in supers:
                self.kernel.send(whole)
            for _ in range(there):
                self.peer.recv(2000)
            self.peer.sendto(b"".join(back), self.sock.address)
            left = len(PAYLOAD)
            while left:
                left -= len(self.kernel.recv(65535)) - 10 - 28

    def count(self, twin: MeterTwin) -> None:
        """Count each segment of all rounds."""
        out = [packet for each in self.out for packet in twin_segments(*each)]
        back = twin_segments(self.back, 900)
        for _ in range(self.rounds):
            for packet in out:
                twin.packet(packet)
            for packet in back:
                twin.packet(packet, rx=True)


class Poller:
    """Takes a meter's counts as often as it can.

    Attributes:
        found: the sums over all epochs, by connection.
        enough: set when so many epochs had packets.
    """

    def __init__(self, meter: netlog.Meter) -> None:
        self._meter = meter
        self.found: dict[Connection, Counts] = {}
        self.enough = threading.Event()

    def poll(self) -> None:
        """Poll until there is enough."""
        busy = 0
        try:
            while busy < EPOCHS:
                busy += self.poll_once()
        finally:
            self.enough.set()

    def poll_once(self) -> bool:
        """Take one epoch, in which both points must agree; return whether it had packets."""
        snapshot = self._meter.snapshot(timeout_s=20)
        self._meter.clear()
        assert snapshot.late_lanes == 0
        tun, sock = snapshot.tun_rows(), snapshot.sock_rows()
        for name in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes"):
            assert tun[name].sum() == sock[name].sum()
        for key, counts in connections(tun).items():
            before = self.found.get(key, NOTHING)
            self.found[key] = tuple(map(sum, zip(before, counts, strict=True)))  # type: ignore[assignment]
        return len(tun) > 0


def test_relays_against_a_poller_that_never_rests() -> None:
    """In each epoch TUN and socket agree; in all, each connection has each of its segments."""
    twin = MeterTwin()
    with netlog.Meter(max_flows=64, max_lanes=2 * RELAYS) as meter, ExitStack() as stack:
        worlds = [World(number, meter, stack) for number in range(RELAYS)]
        poller = Poller(meter)
        threads = [Checked(functools.partial(world.carry, poller.enough)) for world in worlds]
        threads.append(Checked(poller.poll))
        for thread in threads:
            thread.finish()
        for world in worlds:
            world.relay.stop()
            world.count(twin)
            assert world.dropped() == []
        poller.poll_once()
    assert poller.found == twin.flows
    assert min(world.rounds for world in worlds) > 1
