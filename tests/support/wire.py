"""The wire between two gateways as a judge: every datagram, however it was handed to the kernel.

A kernel's counters of a TUN take a super-packet for one packet, those of its UDP sockets several
datagrams that were sent as one for one. The link between the gateways is made to segment, so it
counts what crosses; and a capture of it has every packet, each the payload of a datagram.
"""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

from tests.support.meter_twin import MeterTwin
from tests.support.namespace import Namespace

__all__ = ["Capture", "captured", "see_every_segment"]

ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_STATISTICS = 3, 4, 263, 6
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
BUFFER_BYTES = 256 << 20
UDP = 17


def see_every_segment(left: Namespace, right: Namespace, *, silent: bool = True) -> None:
    """Make the kernels segment before the link, which counts them then.

    `silent`: and say nothing themselves. They would report their multicast groups, some time after
    the link came up; without IPv6 there are none.
    """
    for number, side, other in ((1, left, right), (2, right, left)):
        link = side.ip("-br link show dev lan0").split()[2]
        for address in (f"192.0.2.{number}", f"fd00:2::{number}"):
            other.ip(f"neigh replace {address} lladdr {link} dev lan0")
        side.ip("link set dev lan0 gso_max_segs 1")
    for side in (left, right) if silent else ():
        side.sysctl("net/ipv6/conf/lan0/disable_ipv6", 1)


class Capture:
    """What crosses one side of the link, as the slow twin of a meter counts it.

    Args:
        namespace: whose lan0 it is.
        port: of the datagrams.

    Attributes:
        twin: each packet's connection, as that side's gateway has it; good after the end.
    """

    def __init__(self, namespace: Namespace, port: int) -> None:
        with namespace.entered():
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
            )
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind(("lan0", ETH_P_ALL))
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.twin = MeterTwin()
        self.totals = [0, 0, 0, 0]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Take what is there still, and end; nothing may have been lost."""
        self._done.set()
        self._thread.join()
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._socket.close()
        assert struct.unpack("II", statistics)[1] == 0, "the capture has lost packets"

    def _run(self) -> None:
        while True:
            last = self._done.is_set()
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, address = self._socket.recvfrom(65536)
                    self._take(data, rx=address[2] != PACKET_OUTGOING)
            if last:
                return
            select.select([self._socket], [], [], 0.05)

    def _take(self, outer: bytes, *, rx: bool) -> None:
        four = outer[0] >> 4 == 4
        at, proto = (20, outer[9]) if four else (40, outer[6])
        if proto != UDP:
            return
        ports = struct.unpack_from("!HH", outer, at)
        assert not four or not struct.unpack_from("!H", outer, 6)[0] & 0x3FFF, "a fragment"
        if ports != (self._port, self._port):
            return
        (length,) = struct.unpack_from("!H", outer, at + 4)
        packet = outer[at + 8 : at + length]
        self.twin.packet(packet, rx=rx)
        self.totals[2 * rx] += 1
        self.totals[2 * rx + 1] += len(packet)


@contextlib.contextmanager
def captured(left: Namespace, right: Namespace, port: int) -> Iterator[tuple[Capture, Capture]]:
    """Capture both sides of the link until the block ends."""
    see_every_segment(left, right, silent=False)
    both = Capture(left, port), Capture(right, port)
    for each in both:
        each.start()
    try:
        yield both
    finally:
        for each in both:
            each.end()
