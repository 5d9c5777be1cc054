"""TUNs with virtio headers that somebody else attached: `TunDevice.from_fd`."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, TCP

from netlog import Meter, PacketBatch, Peer, Relay, SockDevice, TunDevice
from tests.support.gateways import totals
from tests.support.namespace import Namespace, wait_for
from tests.support.offloads import ECN, a_hop_on, super_of, turned, twin_segments
from tests.support.vnet import ALL_OFFLOADS, CHECKSUM, IFF_NO_PI, IFF_TUN, IFF_VNET_HDR, RawTun

pytestmark = pytest.mark.root

UDP_SEGMENT = 103
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETVNETLE = (
    0x400454CA, 0x400454D0, 0x400454D8, 0x400454DC,
)  # fmt: skip
TSO_ECN = 8
PAYLOAD = os.urandom(20 * 1000 + 1)
PACKETS, BYTES = 21, 21 * 28 + len(PAYLOAD)


def somebodys(namespace: Namespace, offloads: int, header_bytes: int = 10) -> int:
    """A descriptor of tun0, which is up, with virtio headers of a length."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", flags))
    fcntl.ioctl(fd, TUNSETOFFLOAD, offloads)
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", header_bytes))
    namespace.quiet("tun0")
    namespace.up("tun0", "100.64.0.1/24", "10.2.0.1/16")
    return fd


@pytest.fixture(name="namespace")
def _namespace() -> Iterator[Namespace]:
    with Namespace() as namespace, namespace.entered():
        yield namespace


def burst(user: socket.socket) -> None:
    """Send datagrams as one into the tunnel."""
    user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    user.sendto(PAYLOAD, ("100.64.0.2", 9))


@pytest.mark.parametrize("header_bytes", [10, 12, 24, 64])
@pytest.mark.parametrize("offload", [False, True], ids=["as-it-is", "offload"])
def test_through_a_relay(namespace: Namespace, header_bytes: int, offload: bool) -> None:  # noqa: FBT001 - pytest's own
    """Super-packets come out as packets and go in again, whatever the header's length."""
    # Offloads that are asked for are set, those of somebody else stay.
    fd = somebodys(namespace, CHECKSUM if offload else ALL_OFFLOADS, header_bytes)
    with ExitStack() as stack:
        stack.callback(os.close, fd)
        meter = stack.enter_context(Meter())
        tun = stack.enter_context(TunDevice.from_fd(fd, meter=meter, offload=offload))
        assert tun.offloads == ({"checksum", "tso", "uso"} if offload else set())
        sock = stack.enter_context(SockDevice.bind("127.0.0.1", 0, meter=meter, offload=True))
        user, far, peer = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)
        )
        for each, address in ((user, "100.64.0.1"), (far, "100.64.0.1"), (peer, "127.0.0.1")):
            each.bind((address, 9 if each is far else 0))
            each.settimeout(20)
        endpoint = f"127.0.0.1:{peer.getsockname()[1]}"
        relay = stack.enter_context(Relay(tun, sock, [Peer(endpoint, ("100.64.0.2",))]))
        burst(user)
        packets = [peer.recv(2000) for _ in range(PACKETS)]
        assert b"".join(packet[28:] for packet in packets) == PAYLOAD
        assert namespace.counters("tun0").tx_packets == 1
        # Back they go as one datagram, which the kernel segments and joins again for the relay.
        peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1028)
        peer.sendto(b"".join(map(turned, packets)), sock.address)
        assert b"".join(far.recv(2000) for _ in packets) == PAYLOAD
        assert namespace.counters("tun0").rx_packets == (1 if offload else PACKETS)
        assert namespace.snmp()["UdpInCsumErrors"] == 0
        wait_for(lambda: relay.counters().rx.packets == PACKETS, "all is counted")
        relay.stop()
        snapshot = meter.snapshot(timeout_s=20)
        assert totals(snapshot.tun_rows()) == (PACKETS, BYTES) * 2 == totals(snapshot.sock_rows())


def test_one_by_one(namespace: Namespace) -> None:
    """Who reads and writes such a device has whole packets, each with its checksum."""
    fd = somebodys(namespace, ALL_OFFLOADS, 12)
    with (
        TunDevice.from_fd(fd) as tun,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user,
    ):
        os.close(fd)
        user.bind(("100.64.0.1", 9))
        user.settimeout(20)
        burst(user)
        batch, got = PacketBatch(64, 2000), list[bytes]()
        while len(got) < PACKETS:
            assert tun.read_batch(batch, timeout_s=20)
            got += [bytes(batch.packet(slot)) for slot in range(batch.count)]
        for packet in got:
            tun.write(turned(packet))
        assert b"".join(user.recv(2000) for _ in got) == PAYLOAD
        assert namespace.snmp()["UdpInCsumErrors"] == 0
        assert totals(tun.extract_statistics()) == (PACKETS, BYTES, PACKETS, BYTES)


def test_congestion_is_passed_on(namespace: Namespace) -> None:
    """A super-packet that the kernel marks as TSO_ECN has CWR on its first segment only."""
    namespace.sysctl("net/ipv4/ip_forward", 1)
    fd = somebodys(namespace, ALL_OFFLOADS | TSO_ECN)
    packet = bytes(
        IP(src="10.1.0.9", dst="10.2.0.9", id=7, tos=2)
        / TCP(sport=1, dport=2, seq=9, flags="APC")
        / os.urandom(4001)
    )
    with (
        RawTun(namespace, "in0", "10.1.0.1/16", offloads=ALL_OFFLOADS) as into,
        TunDevice.from_fd(fd) as tun,
    ):
        os.close(fd)
        whole = super_of(packet, 1000)
        os.write(into.fd, bytes([1, whole.vnet.gso_type | ECN]) + bytes(whole)[2:])
        expected = [a_hop_on(segment) for segment in twin_segments(packet, 1000)]
        assert [tun.read(timeout_s=20) for _ in expected] == expected
        assert [segment[33] & 0x80 for segment in expected] == [0x80, 0, 0, 0, 0]
        assert namespace.counters("tun0").tx_packets == 1
        assert totals(tun.extract_statistics())[:2] == (5, sum(map(len, expected)))


def test_what_lies_in_front(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header's byte order is the kernel's word; one longer than any known is refused."""
    fd = somebodys(namespace, ALL_OFFLOADS)
    for own, little, swapped in (
        ("little", 0, False), ("little", 1, False), ("big", 0, False), ("big", 1, True),
    ):  # fmt: skip
        monkeypatch.setattr("netlog.devices.vnet_header.sys.byteorder", own)
        fcntl.ioctl(fd, TUNSETVNETLE, struct.pack("i", little))
        with TunDevice.from_fd(fd) as tun:
            assert tun.handle.swapped == swapped
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 65))
    with pytest.raises(ValueError, match=rf"fd {fd} has a virtio header of 65 bytes"):
        TunDevice.from_fd(fd)
    os.close(fd)
