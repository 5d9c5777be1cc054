"""Two gateways in namespaces of their own, for the tests of devices and relay.

    namespace "left"                                       namespace "right"
    tun0 100.64.0.1, fd00:64::1                            tun0 100.64.0.2, fd00:64::2
     |  relay  |                                            |  relay  |
    lan0 192.0.2.1, fd00:2::1  ------- veth --------  lan0 192.0.2.2, fd00:2::2

The kernel does not talk by itself on these interfaces (no IPv6 link-local addresses), so what
crosses them is what the test sends.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from netlog import Meter, Peer, Relay, SockDevice, TunDevice
from tests.support.namespace import LinkCounters, Namespace, connect, wait_for

PORT = 5820
TIME_WAIT, LISTEN = "06", "0A"  # of /proc/net/tcp; net/tcp_states.h

Totals = tuple[int, int, int, int]
"""tx packets, tx bytes, rx packets, rx bytes."""


@dataclass
class Gateway:
    """One of the two, with what it is made of."""

    number: int
    namespace: Namespace
    meter: Meter
    tuns: list[TunDevice]
    socks: list[SockDevice]
    peers: list[Peer] = field(default_factory=list)

    @property
    def tun(self) -> TunDevice:
        """The first queue of its TUN, or the only one."""
        return self.tuns[0]

    @property
    def sock(self) -> SockDevice:
        """The first of its sockets, or the only one."""
        return self.socks[0]

    @property
    def overlay4(self) -> str:
        """The gateway's IPv4 address in the tunnel."""
        return f"100.64.0.{self.number}"

    @property
    def overlay6(self) -> str:
        """The gateway's IPv6 address in the tunnel."""
        return f"fd00:64::{self.number}"

    def relay(self) -> Relay:
        """A relay to `peers`, not started."""
        return Relay(self.tuns, self.socks, self.peers)

    def udp(self, address: str, port: int = 0) -> socket.socket:
        """A UDP socket of a user behind the gateway."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.namespace.entered():
            user = socket.socket(family, socket.SOCK_DGRAM)
        user.bind((address, port))
        user.settimeout(20)
        return user


@contextlib.contextmanager
def gateway(
    number: int,
    namespace: Namespace,
    outer: Literal[4, 6] = 4,
    *,
    offload: bool = False,
    queues: int = 1,
) -> Iterator[Gateway]:
    """Make the devices of one gateway; its lan0 is up already."""
    other = 3 - number
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(Meter())
        with namespace.entered():
            tuns = TunDevice.open_queues("tun0", queues, meter=meter, offload=offload)
            address = "0.0.0.0" if outer == 4 else "::"  # noqa: S104 - in a namespace of its own
            socks = SockDevice.bind_group(address, PORT, queues, meter=meter, offload=offload)
        for device in (*tuns, *socks):
            stack.enter_context(device)
        namespace.quiet("tun0")
        namespace.up("tun0", f"100.64.0.{number}/24", f"fd00:64::{number}/64")
        endpoint = f"192.0.2.{other}:{PORT}" if outer == 4 else f"[fd00:2::{other}]:{PORT}"
        peer = Peer(endpoint, (f"100.64.0.{other}/32", f"fd00:64::{other}/128"))
        yield Gateway(number, namespace, meter, tuns, socks, [peer])


@contextlib.contextmanager
def joined() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a link between them."""
    with Namespace() as left, Namespace() as right:
        connect(left, "lan0", right, "lan0")
        for number, namespace in ((1, left), (2, right)):
            namespace.quiet("lan0")
            namespace.up("lan0", f"192.0.2.{number}/24", f"fd00:2::{number}/64")
        for namespace in (left, right):
            wait_for(partial(namespace.carries, "lan0"), "the link is up")
            namespace.await_addresses("lan0")
        yield left, right


@contextlib.contextmanager
def pair(
    outer: Literal[4, 6] = 4, *, offload: bool = False, queues: int = 1
) -> Iterator[tuple[Gateway, Gateway]]:
    """Both gateways, their relays not started."""
    with (
        joined() as (left, right),
        gateway(1, left, outer, offload=offload, queues=queues) as a,
        gateway(2, right, outer, offload=offload, queues=queues) as b,
    ):
        yield a, b


def have_crossed(a: Relay, b: Relay) -> bool:
    """Whether all that one relay sent has come out of the other, both ways."""
    left, right = a.counters(), b.counters()
    return (left.tx, right.tx) == (right.rx, left.rx)


def tcp_is_over(*sides: Gateway) -> bool:
    """Whether no connection of TCP has anything to say any more: its last acknowledgement came."""
    for side in sides:
        with side.namespace.entered():
            for name in ("tcp", "tcp6"):
                rows = Path("/proc/thread-self/net", name).read_text().splitlines()[1:]
                if any(row.split()[3] not in {TIME_WAIT, LISTEN} for row in rows):
                    return False
    return True


def totals(rows: np.ndarray) -> Totals:
    """Add up FLOW_DTYPE rows."""
    names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    tx_packets, tx_bytes, rx_packets, rx_bytes = (int(rows[name].sum()) for name in names)
    return tx_packets, tx_bytes, rx_packets, rx_bytes


def kernel_totals(counters: LinkCounters) -> Totals:
    """The same of an interface, as the kernel counted it."""
    return counters.tx_packets, counters.tx_bytes, counters.rx_packets, counters.rx_bytes


def taken(meter: Meter) -> tuple[Totals, Totals]:
    """What a meter counted at the TUN and at the socket since the last time; all writers rest."""
    snapshot = meter.snapshot(timeout_s=20)
    meter.clear()
    assert snapshot.late_lanes == 0
    return totals(snapshot.tun_rows()), totals(snapshot.sock_rows())


def relay_threads() -> list[Path]:
    """The relay threads of this process, as directories of /proc."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().startswith(("netlog-tx", "netlog-rx")):
                found.append(task)
    return sorted(found)


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
