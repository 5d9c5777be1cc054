"""Super-packets through devices and relay: what is counted is what crosses the wire."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Literal

import pytest

from netlog import Meter, PacketBatch, Relay, TunDevice
from netlog.devices.tun_open import OFFLOADS
from tests.support.gateways import (
    PORT,
    Gateway,
    gateway,
    have_crossed,
    joined,
    kernel_totals,
    pair,
    taken,
    tcp_is_over,
    totals,
)
from tests.support.meter_twin import connections
from tests.support.namespace import Namespace, wait_for
from tests.support.offloads import turned
from tests.support.wire import captured
from tests.system.crossing import everything, fit_into_lan0

pytestmark = pytest.mark.root

UDP_SEGMENT = 103
SO_NO_CHECK = 11  # asm-generic/socket.h


def wrong_sums(*sides: Gateway) -> dict[str, int]:
    """Return what the kernels found wrong."""
    found: dict[str, int] = {}
    for side in sides:
        found |= {name: n for name, n in side.namespace.snmp().items() if "Csum" in name and n}
    return found


@pytest.fixture(name="gateways")
def _gateways() -> Iterator[tuple[Gateway, Gateway]]:
    with pair(offload=True) as both:
        fit_into_lan0(*both)
        yield both


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
def test_counts_are_the_wires(outer: Literal[4, 6], offload: bool) -> None:  # noqa: FBT001 - pytest
    """Each connection has what crosses the link, at both ends, and so have the sockets."""
    with pair(outer, offload=offload) as (a, b):
        fit_into_lan0(a, b)
        assert a.tun.offloads == ({"checksum", "tso", "uso"} if offload else set())
        assert a.sock.offloads == ({"gro", "segment"} if offload else set())
        with (
            captured(a.namespace, b.namespace, PORT) as captures,
            a.relay() as left,
            b.relay() as right,
        ):
            everything(a, b)
            wait_for(lambda: tcp_is_over(a, b), "the last acknowledgement came")
            wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
        for side, capture in zip((a, b), captures, strict=True):
            snapshot = side.meter.snapshot(timeout_s=20)
            assert connections(snapshot.tun_rows()) == capture.twin.flows
            assert totals(snapshot.sock_rows()) == tuple(capture.totals)
            kernel = side.namespace.counters("tun0")
            if offload:  # super-packets were read
                assert capture.totals[0] > 3 * kernel.tx_packets
            else:
                assert tuple(capture.totals) == kernel_totals(kernel)
        assert wrong_sums(a, b) == {}


def test_super_packets_are_written(gateways: tuple[Gateway, Gateway]) -> None:
    """What one TUN hands over as one the other takes as one, and finds nothing wrong with it."""
    a, b = gateways
    with a.relay() as left, b.relay() as right:
        everything(a, b)
        wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
        for side, relay in ((a, left), (b, right)):
            kernel, counters = side.namespace.counters("tun0"), relay.counters()
            assert counters.rx.packets > 3 * kernel.rx_packets
            assert not any(count.packets for count in counters.tx_dropped.values())
            assert not any(count.packets for count in counters.rx_dropped.values())
            tun, sock = taken(side.meter)
            assert tun == sock
    assert wrong_sums(a, b) == {}


@pytest.mark.parametrize("first", [False, True], ids=["plain-first", "offload-first"])
def test_old_and_new(first: bool) -> None:  # noqa: FBT001 - pytest's own
    """A relay with offloads and one without understand each other."""
    with (
        joined() as (left, right),
        gateway(1, left, offload=first) as a,
        gateway(2, right, offload=not first) as b,
        a.relay() as one,
        b.relay() as other,
    ):
        everything(a, b)
        wait_for(lambda: have_crossed(one, other), "the last TCP packets have crossed")
        assert wrong_sums(a, b) == {}


def flows_through(a: Gateway, b: Gateway) -> Relay:
    """Let everything cross, both ends agreeing; return the first relay."""
    with a.relay() as left, b.relay() as right:
        everything(a, b)
        wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
    for side in (a, b):
        tun, sock = taken(side.meter)
        assert tun == sock
    return left


def test_without_segments(gateways: tuple[Gateway, Gateway]) -> None:
    """Where the kernel fails UDP_SEGMENT the datagrams go one by one, and it is not tried again."""
    a, b = gateways
    with socket.socket(fileno=os.dup(a.sock.fd)) as own:
        own.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # EINVAL with UDP_SEGMENT
    relay = flows_through(a, b)
    assert a.sock.offloads == {"gro"}
    assert b.sock.offloads == {"gro", "segment"}
    assert not any(count.packets for count in relay.counters().tx_dropped.values())


def test_small_link(gateways: tuple[Gateway, Gateway]) -> None:
    """Datagrams that the link has no room for go one by one, in fragments, and no more is lost."""
    a, b = gateways
    for side in (a, b):
        side.namespace.ip("link set lan0 mtu 1400")
    relay = flows_through(a, b)
    assert a.sock.offloads == {"gro", "segment"}
    assert not any(count.packets for count in relay.counters().tx_dropped.values())


def test_reads_are_packets() -> None:
    """Who reads the device gets packets, each whole, over several calls, as they are counted."""
    with Namespace() as namespace, namespace.entered(), Meter() as meter:
        tun = TunDevice.open("tun0", meter=meter, offload=True)
        namespace.quiet("tun0")
        namespace.up("tun0", "100.64.0.1/24")
        with tun, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
            user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            payload = os.urandom(20 * 1000 + 1)
            user.sendto(payload, ("100.64.0.2", 9))
            batch = PacketBatch(8, 2000)
            got: list[bytes] = []
            while len(got) < 21:
                assert tun.read_batch(batch, timeout_s=20)
                got += [bytes(batch.packet(i)) for i in range(batch.count)]
            assert b"".join(packet[28:] for packet in got) == payload
            assert [len(packet) for packet in got] == [1028] * 20 + [29]
            assert namespace.counters("tun0").tx_packets == 1
            assert totals(tun.extract_statistics()) == (21, len(payload) + 21 * 28, 0, 0)
            # Written back, the kernel takes them: each has its checksum.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("100.64.0.1", 9))
                other.settimeout(20)
                for packet in got:
                    tun.write(turned(packet))
                assert b"".join(other.recv(2000) for _ in got) == payload
            assert namespace.snmp()["UdpInCsumErrors"] == 0


def test_nothing_is_left_set() -> None:
    """A persistent interface that had offloads hands whole packets to one who has none."""
    with Namespace() as namespace, namespace.entered():
        namespace.ip("tuntap add dev keep0 mode tun")
        with TunDevice.open("keep0", offload=True):
            namespace.quiet("keep0")
            namespace.up("keep0", "100.64.0.1/24")
        with (
            TunDevice.open("keep0") as tun,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user,
        ):
            assert tun.offloads == set()
            wait_for(lambda: "LOWER_UP" in namespace.ip("link show keep0"), "the link is up")
            user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            user.sendto(bytes(3000), ("100.64.0.2", 9))
            packet = tun.read(timeout_s=20)
            assert len(packet) == 1028
            (checksum,) = struct.unpack_from("!H", packet, 26)
            assert checksum


UNKNOWN_OFFLOAD, UNKNOWN_FLAG, UNKNOWN_OPTION = 0x8000, 0x0800, 250
"""Numbers that no kernel knows: so it refuses what it has as it would what it has not."""


def test_what_the_kernel_has_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each part that the kernel refuses is said, and the rest is used."""
    caplog.set_level("INFO", "netlog")
    (flags, names), *rest = OFFLOADS
    unknown = ((flags | UNKNOWN_OFFLOAD, names), *rest)
    monkeypatch.setattr("netlog.devices.tun_open.OFFLOADS", unknown)
    monkeypatch.setattr("netlog.devices.sock.UDP_GRO", UNKNOWN_OPTION)
    with pair(offload=True) as (a, b):
        assert a.tun.offloads == {"checksum", "tso"}
        assert a.sock.offloads == {"segment"}
        flows_through(a, b)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    assert sum("no uso offload for a TUN" in text for text in said) == 2
    assert sum("no UDP_GRO" in text for text in said) == 2


def test_a_kernel_without_any(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no virtio header the relay goes packet by packet, and says so."""
    caplog.set_level("INFO", "netlog")
    monkeypatch.setattr("netlog.devices.tun_open.IFF_VNET_HDR", UNKNOWN_FLAG)
    for name in ("UDP_GRO", "UDP_SEGMENT"):
        monkeypatch.setattr(f"netlog.devices.sock.{name}", UNKNOWN_OPTION)
    with pair(offload=True) as (a, b):
        assert a.tun.offloads == a.sock.offloads == set()
        flows_through(a, b)
    assert len(caplog.records) == 6
