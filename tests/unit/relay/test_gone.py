"""Descriptors that go away in mid-batch: what was read is forwarded or dropped, all of it."""

import errno
import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP

from netlog import (
    Count,
    DeviceError,
    Meter,
    PacketBatch,
    Peer,
    Relay,
    RelayCounters,
    SockDevice,
    TunDevice,
)
from tests.support.offloads import super_of

ALL = frozenset({"checksum", "tso", "uso"})
UDP_SEGMENT = 103
PAYLOAD_BYTES = 40_000
PEER, NOBODY = "10.0.0.2", "10.0.0.9"


@pytest.fixture(name="devices", params=[False, True], ids=["plain", "offload"])
def _devices(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[TunDevice, socket.socket, SockDevice, socket.socket]]:
    """A device and the kernel's end of it, a socket and its peer."""
    one, stack = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)  # noqa: FBT003 - the standard library's own
    for end in (one, stack):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    with (
        Meter() as meter,
        stack,
        TunDevice(one.detach(), "pipe0", meter, ALL if request.param else None) as tun,
        SockDevice.bind("127.0.0.1", 0, meter=meter, offload=request.param) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        yield tun, stack, sock, peer


def sums(rows: np.ndarray, direction: str) -> Count:
    """Packets and bytes of one direction, unattributed ones included."""
    return Count(*(int(rows[f"{direction}_{what}"].sum()) for what in ("packets", "bytes")))


def all_of(forwarded: Count, dropped: dict[str, Count]) -> Count:
    """What a relay says that it read."""
    counts = [forwarded, *dropped.values()]
    return Count(sum(one.packets for one in counts), sum(one.bytes for one in counts))


def run_until_gone(tun: TunDevice, sock: SockDevice, peer: socket.socket) -> RelayCounters:
    """Run a relay until it ends by itself."""
    at = f"127.0.0.1:{peer.getsockname()[1]}"
    relay = Relay(tun, sock, [Peer(at, (PEER,))])
    relay.start()
    assert relay.wait(20)
    assert isinstance(relay.error, DeviceError)
    relay.stop()
    return relay.counters()


def test_socket_gone(
    devices: tuple[TunDevice, socket.socket, SockDevice, socket.socket],
) -> None:
    """Packets read from the TUN that cannot be sent any more count, segment by segment."""
    tun, stack, sock, peer = devices
    for number in range(12):
        whole = IP(src="10.0.0.1", dst=PEER if number % 4 else NOBODY) / TCP(flags="A")
        packet = bytes(whole / bytes(PAYLOAD_BYTES))
        # Segments so small that a batch of them is more than is sent at once.
        stack.send(bytes(super_of(packet, 100)) if tun.offloads else packet)
    # Neither a socket, nor ever readable: the sender finds it gone, with a batch in hand.
    other = os.eventfd(0)
    os.dup2(other, sock.fd)
    os.close(other)
    counters = run_until_gone(tun, sock, peer)
    snapshot = tun.meter.snapshot(timeout_s=20)
    assert counters.tx == Count() == sums(snapshot.sock_rows(), "tx")
    read = sums(snapshot.tun_rows(), "tx")
    assert all_of(counters.tx, dict(counters.tx_dropped)) == read
    failed, nobodys = counters.tx_dropped["send_failed"], counters.tx_dropped["no_peer"]
    assert failed.packets > nobodys.packets > 0
    assert all_of(failed, {"": nobodys}) == read
    assert read.packets > (1024 if tun.offloads else 11)


def test_tun_gone(devices: tuple[TunDevice, socket.socket, SockDevice, socket.socket]) -> None:
    """Datagrams that cannot be written any more count, each, or for what is wrong with it."""
    tun, _, sock, peer = devices
    sent = b"".join(
        bytes(IP(src=PEER if i % 5 else NOBODY, dst="10.0.0.1", id=i) / UDP() / bytes(100))
        for i in range(50)
    )
    peer.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 128)
    peer.sendto(sent, sock.address)
    # Never readable, and not to be written: the writer finds it gone, with a batch in hand.
    reading, writing = os.pipe()
    os.dup2(reading, tun.fd)
    os.close(reading)
    counters = run_until_gone(tun, sock, peer)
    os.close(writing)
    snapshot = tun.meter.snapshot(timeout_s=20)
    assert counters.rx == Count() == sums(snapshot.tun_rows(), "rx")
    read = sums(snapshot.sock_rows(), "rx")
    assert read == Count(50, 50 * 128)
    assert all_of(counters.rx, dict(counters.rx_dropped)) == read
    assert counters.rx_dropped["write_failed"] == Count(40, 40 * 128)
    assert counters.rx_dropped["source_not_allowed"] == Count(10, 10 * 128)


@pytest.mark.parametrize("which", ["tun", "sock"])
def test_a_callers_batch(
    devices: tuple[TunDevice, socket.socket, SockDevice, socket.socket], which: str
) -> None:
    """A batch that a descriptor takes nothing of is refused as a whole, however long it is."""
    tun, _, sock, peer = devices
    device = tun if which == "tun" else sock
    reading, writing = os.pipe()
    os.dup2(reading, device.fd)
    batch = PacketBatch(200, 200)
    for slot in range(200):
        packet = bytes(IP(src=PEER, dst="10.0.0.1") / UDP() / bytes(slot % 100))
        batch.put(slot, packet, peer.getsockname())
    write = tun.write_batch if device is tun else sock.send_batch
    with pytest.raises(DeviceError) as gone:
        write(batch, 200)
    for fd in (reading, writing):
        os.close(fd)
    assert gone.value.errno == (errno.EBADF if device is tun else errno.ENOTSOCK)
    refused = device.refusals
    assert (refused.packets, refused.bytes) == (200, 200 * 28 + 2 * sum(range(100)))
    assert (refused.queue_full_packets, refused.errno) == (0, gone.value.errno)
    snapshot = device.meter.snapshot(timeout_s=20)
    assert len(snapshot.tun_rows()) == len(snapshot.sock_rows()) == 0
