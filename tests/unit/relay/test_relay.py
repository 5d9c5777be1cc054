"""Peers, and relays whose TUN is a socket pair: all that needs no root."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from netlog import Count, Meter, Peer, Relay, SockDevice, StateError, TunDevice
from netlog._native import lib
from netlog.relay.peer_map import open_peers


@pytest.mark.parametrize(
    ("allowed", "overlay"),
    [
        ((), None),
        (("10.0.0.0/8",), None),
        (("10.0.0.0/8", "100.64.0.2"), "100.64.0.2"),
        (("100.64.0.2/32", "fd7a::2/128"), "100.64.0.2"),
        (("fd7a::2", "100.64.0.2/32"), "fd7a::2"),
        (["192.0.2.0/31", "fd7a::/64"], None),
    ],
)
def test_overlay_address(allowed: tuple[str, ...], overlay: str | None) -> None:
    """A peer's overlay address is the first allowed prefix that is a single address."""
    peer = Peer("192.0.2.1:9", allowed)
    assert isinstance(peer.allowed_ips, tuple)
    assert peer.overlay_address == (overlay and ipaddress.ip_address(overlay))


@pytest.mark.parametrize(
    ("endpoint", "allowed", "text"),
    [
        ("192.0.2.1", (), "expected address:port"),
        ("192.0.2.1:0", (), "expected a port"),
        ("host:9", (), "expected an IPv4 or IPv6 address"),
        ("192.0.2.1:9", ("100.64.0.2/24",), "host bits"),
        ("192.0.2.1:9", ("100.64.0.2/33",), "expected a prefix"),
        ("192.0.2.1:9", ("overlay",), "expected a prefix"),
    ],
)
def test_wrong_peer(endpoint: str, allowed: tuple[str, ...], text: str) -> None:
    """An endpoint or a prefix that is none is a ValueError when the peer is made."""
    with pytest.raises(ValueError, match=text):
        Peer(endpoint, allowed)


def test_peers_that_contradict_each_other() -> None:
    """Two peers with one endpoint, or with the same prefix, are a ValueError that names both."""
    one = Peer("192.0.2.1:9", ("100.64.0.1",), "one")
    with pytest.raises(ValueError, match="one and two have the same endpoint"):
        open_peers([one, Peer("[::ffff:192.0.2.1]:9", (), "two")])
    with pytest.raises(ValueError, match=r"one and two both have 100\.64\.0\.1/32"):
        open_peers([one, Peer("192.0.2.2:9", ("100.64.0.1/32",), "two")])
    with pytest.raises(ValueError, match=r"one and one both have"):
        open_peers([Peer("192.0.2.1:9", ("100.64.0.1", "100.64.0.1/32"), "one")])
    open_peers([one, Peer("192.0.2.1:10", ("100.64.0.0/31",), "two")])
    open_peers([])


def test_too_many_peers() -> None:
    """More peers than the core has room for are a ValueError."""
    peers = [Peer("192.0.2.1:9", ())] * (lib.NETLOG_MAX_PEERS + 1)
    with pytest.raises(ValueError, match="65536"):
        open_peers(peers)


@pytest.fixture(name="meter")
def _meter() -> Iterator[Meter]:
    with Meter() as meter:
        yield meter


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, socket.socket]]:
    """The two ends of something that keeps packets apart as a TUN does, and needs no root."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_blocking(one.fileno(), False)
    other.settimeout(20)
    with other:
        yield one.detach(), other


@pytest.fixture(name="tun")
def _tun(meter: Meter, pipe: tuple[int, socket.socket]) -> Iterator[TunDevice]:
    with TunDevice(pipe[0], "pipe0", meter) as tun:
        yield tun


def test_devices_must_share_a_meter(tun: TunDevice) -> None:
    """A relay of devices with different meters is a ValueError."""
    with (
        SockDevice.bind("127.0.0.1", 0) as sock,
        pytest.raises(ValueError, match="different meters"),
    ):
        Relay(tun, sock, [])


@pytest.mark.parametrize(
    ("bound", "endpoint", "reached"),
    [
        ("127.0.0.1", "192.0.2.1:9", True),
        ("127.0.0.1", "[2001:db8::1]:9", False),
        ("127.0.0.1", "[::ffff:192.0.2.1]:9", True),
        ("::1", "192.0.2.1:9", False),
        ("::", "192.0.2.1:9", True),
        ("::", "[2001:db8::1]:9", True),
    ],
)
def test_peers_must_be_reachable(
    tun: TunDevice,
    bound: str,
    endpoint: str,
    reached: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A peer of a family that the socket cannot send to is a ValueError that names it."""
    with SockDevice.bind(bound, 0, meter=tun.meter) as sock:
        if reached:
            Relay(tun, sock, [Peer(endpoint, (), "far")])
        else:
            with pytest.raises(ValueError, match="peer far"):
                Relay(tun, sock, [Peer(endpoint, (), "far")])


def inner4(source: str, destination: str, payload: bytes) -> bytes:
    """An IPv4 packet of protocol 253 (RFC 3692: for experiments)."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 253, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + payload


def test_relay_without_root(tun: TunDevice, pipe: tuple[int, socket.socket]) -> None:
    """Packets cross in both directions, and each direction's drops have their reason."""
    stack = pipe[1]
    there, back = inner4("10.0.0.1", "10.0.0.2", b"there"), inner4("10.0.0.2", "10.0.0.1", b"back")
    with (
        SockDevice.bind("127.0.0.1", 0, meter=tun.meter) as sock,
        SockDevice.bind("127.0.0.1", 0) as peer,
    ):
        at = f"127.0.0.1:{peer.address[1]}"
        with Relay(tun, sock, [Peer(at, ("10.0.0.2",))]) as relay:
            stack.send(inner4("10.0.0.1", "10.0.0.3", b""))
            stack.send(there)
            assert peer.recvfrom(20) == (there, sock.address)
            peer.sendto(inner4("10.0.0.3", "10.0.0.1", b""), sock.address)
            peer.sendto(back, sock.address)
            assert stack.recv(2000) == back
        counters = relay.counters()
        snapshot = tun.meter.snapshot()
        tun.meter.clear()
    assert counters.tx == Count(1, 25)
    assert counters.rx == Count(1, 24)
    assert counters.tx_dropped == {
        "no_peer": Count(1, 20),
        **dict.fromkeys(("malformed", "not_ip", "send_failed", "send_queue_full"), Count()),
    }
    assert counters.rx_dropped == {
        "source_not_allowed": Count(1, 20),
        **dict.fromkeys(
            ("unknown_endpoint", "truncated", "malformed", "not_ip", "write_failed"), Count()
        ),
    }
    assert (snapshot.tun["tx_packets"].sum(), snapshot.tun["rx_packets"].sum()) == (2, 1)
    assert (snapshot.sock["tx_packets"].sum(), snapshot.sock["rx_packets"].sum()) == (1, 2)
    assert not relay.running


def test_relay_counts_before_the_peer_can_know(
    tun: TunDevice, pipe: tuple[int, socket.socket]
) -> None:
    """What a peer has received is in the epoch that is retired after that."""
    stack = pipe[1]
    packet = inner4("10.0.0.1", "10.0.0.2", b"x")
    with (
        SockDevice.bind("127.0.0.1", 0, meter=tun.meter) as sock,
        SockDevice.bind("127.0.0.1", 0) as peer,
        Relay(tun, sock, [Peer(f"127.0.0.1:{peer.address[1]}", ("10.0.0.2",))]),
    ):
        for _ in range(300):
            stack.send(packet)
            peer.recvfrom(20)
            snapshot = tun.meter.snapshot(timeout_s=20)
            tun.meter.clear()
            assert snapshot.tun["tx_packets"].sum() == snapshot.sock["tx_packets"].sum() == 1


def test_closed_device_is_not_relayed(tun: TunDevice) -> None:
    """A relay of a closed device does not start, and holds nothing back."""
    with SockDevice.bind("127.0.0.1", 0, meter=tun.meter) as sock:
        relay = Relay(tun, sock, [])
        tun.close()
        with pytest.raises(StateError, match="pipe0 is closed"):
            relay.start()
        assert not relay.running
    tun.meter.close()
