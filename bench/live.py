"""A TUN in a network namespace of its own; its packets end in a UDP socket that nobody reads."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from bench.native import lib
from bench.packets import Ring
from bench.peers import rights_or_skip
from netlog import TunDevice
from tests.support.namespace import IFF_TUN_NO_PI, TUNSETIFF, Namespace

ADDRESS, PEER = "100.64.0.1", "100.64.0.2"
PORT = 9
NAME = "tun0"


def datagrams(ring: Ring) -> None:
    """Make each slot a UDP datagram to the socket, from a port of its own, with right checksums."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, lib.BENCH_SLOT_BYTES, 0, 0x4000, 64, 17, 0)
    head += socket.inet_aton(PEER) + socket.inet_aton(ADDRESS)
    folded = sum(struct.unpack("!10H", head))
    folded = (folded & 0xFFFF) + (folded >> 16)
    head = head[:10] + struct.pack("!H", ~folded & 0xFFFF) + head[12:]
    ring.fill(np.arange(ring.slots))
    for slot in range(ring.slots):
        packet = head + struct.pack("!HHHH", 1024 + slot, PORT, lib.BENCH_SLOT_BYTES - 20, 0)
        ring.data[slot * lib.BENCH_SLOT_BYTES : slot * lib.BENCH_SLOT_BYTES + 28] = packet


@dataclass(frozen=True, slots=True)
class Live:
    """The interface: its namespace, its bare descriptor, its counted device, and its number."""

    namespace: Namespace
    fd: int
    device: TunDevice
    index: int

    def write(self, ring: Ring) -> float:
        """Return CPU ns of a bare write, with everything that the kernel does before it returns."""
        spent = lib.bench_write_each(self.fd, ring.data, ring.slots)
        assert spent > 0, os.strerror(-spent)
        return float(spent / ring.slots)


@contextmanager
def live_tun() -> Iterator[Live]:
    """Make it; it is gone afterwards."""
    rights_or_skip()
    with ExitStack() as stack, Namespace() as namespace:
        with namespace.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, fd)
            request = struct.pack("16sH22x", NAME.encode(), IFF_TUN_NO_PI)
            fcntl.ioctl(fd, TUNSETIFF, request)
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        with TunDevice.from_fd(fd) as device, sink:
            namespace.quiet(NAME)
            namespace.up(NAME, f"{ADDRESS}/24")
            with namespace.entered():
                # The buffer is full after a few packets; the rest is dropped instead of queued.
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                sink.bind((ADDRESS, PORT))
                index = socket.if_nametoindex(NAME)
            yield Live(namespace, fd, device, index)
