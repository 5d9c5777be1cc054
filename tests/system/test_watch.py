"""`netlog watch`: taps on real interfaces, each in a process and a namespace of its own."""

import fcntl
import os
import re
import signal
import socket
import struct
from pathlib import Path

import pytest
from gateways import joined
from namespace import TUNSETIFF, LinkCounters, Namespace, wait_for
from runs import Running, summed
from watches import counts, watching

from netlog import TunDevice

pytestmark = pytest.mark.root

IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x1000, 0x4000
TUNSETOFFLOAD, TUN_F_CSUM, TUN_F_USO4 = 0x400454D0, 0x1, 0x20
UDP_SEGMENT = 103
VIRTUAL = ("virtual", "subnet", "exit")


def stack_totals(counters: LinkCounters) -> tuple[int, int]:
    """Packets that the stack gave to a TUN, read or dropped, and those that were written to it."""
    return counters.tx_packets + counters.tx_dropped, counters.rx_packets


def user(namespace: Namespace, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A UDP socket of a user."""
    with namespace.entered():
        return socket.socket(family, socket.SOCK_DGRAM)


def udp4(payload: bytes) -> bytes:
    """An IPv4 packet from 100.64.0.2 to 100.64.0.1."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    head += socket.inet_aton("100.64.0.2") + socket.inet_aton("100.64.0.1")
    folded = sum(struct.unpack("!10H", head))
    folded = (folded & 0xFFFF) + (folded >> 16)
    head = head[:10] + struct.pack("!H", ~folded & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHH", 9, 9, 8 + len(payload), 0) + payload


def tun_of(namespace: Namespace, *, up: bool = True) -> TunDevice:
    """A TUN with addresses."""
    with namespace.entered():
        tun = TunDevice.open("tun0")
    namespace.quiet("tun0")
    if up:
        namespace.up("tun0", "100.64.0.1/24", "fd7a:115c:a1e0::1/64")
    return tun


def drops(running: Running) -> int:
    """Frames that the kernel dropped before a tap could see them, as the watch says at its end."""
    return sum(map(int, re.findall(r"(\d+) dropped by the kernel", running.said)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_tun_is_counted_exactly(tmp_path: Path, number: signal.Signals, threads: int) -> None:
    """The sum over the messages is what the kernel gave to the TUN, with what its queue dropped."""
    options = ("--tun", "tun0", "--route", "100.64.0.0/10", "--threads", str(threads))
    with Namespace() as namespace, watching(namespace, tmp_path, *options) as running:
        wait_for(lambda: "tun0: waiting for the interface" in running.said, "it waits")
        with tun_of(namespace, up=False) as tun:
            wait_for(lambda: counts(running, "tun tun0"), "the tap is there")
            namespace.up("tun0", "100.64.0.1/24", "fd7a:115c:a1e0::1/64")
            for number_ in range(3000):
                tun.write(udp4(bytes(number_ % 1000)))
            with user(namespace) as four, user(namespace, socket.AF_INET6) as six:
                for length in range(1000):
                    four.sendto(bytes(length), ("100.64.0.2", 9))
                    six.sendto(bytes(length), ("fd7a:115c:a1e0::2", 9))
            while tun.read_batch_or_nothing() if hasattr(tun, "read_batch_or_nothing") else False:
                pass
            assert running.stop(number) == 0
            kernel = namespace.counters("tun0")
    tx_packets, tx_bytes, rx_packets, rx_bytes = summed(running.messages, *VIRTUAL)
    assert drops(running) == 0
    # 500 packets wait in the TUN's queue, which nobody reads.
    assert kernel.tx_dropped == 1500
    assert (tx_packets, rx_packets) == (2000, 3000) == (500 + kernel.tx_dropped, kernel.rx_packets)
    assert tx_bytes == sum(range(1000)) * 2 + 1000 * (28 + 48)
    assert rx_bytes == kernel.rx_bytes
    # Own address and route are both in the overlay.
    assert summed(running.messages, "virtual")[2] == 3000
