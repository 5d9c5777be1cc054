"""A relay of two queues moves 1.8 times the packets a second of a relay of one.

The TUN's queues are filled while no relay runs, and then the relay is started. So the relay has
both cores, and no sender runs meanwhile. With one queue or with two, the same number of packets is
queued, of many flows; with two, each queue has half of them. The peer is the kernel with two bare
senders beside one, on the same link: how well this machine's two cores scale at best.

The frames to the relay's peer are for a machine that does not exist. The kernel at the other end of
the link drops them, so that the two ends, which would be two machines, share no socket of this one.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from bench.harness import Budget, Turns
from bench.native import BENCH, build_program
from bench.peers import rights_or_skip
from netlog import Meter, Peer, Relay, SockDevice, TunDevice
from tests.support.gateways import joined
from tests.support.namespace import Namespace

ROUNDS = 11
PACKETS = 300_000
FLOWS = 64
PAYLOAD_BYTES = 200
PORT = 40000
PEER = "192.0.2.9"
NOBODY = "02:00:00:00:00:09"
BOUND_S = 60
LOOK_S = 0.002
WINDOW_S = 0.2


class Path:
    """Two namespaces with a link, and the traffic that a bench sends over it.

    Args:
        namespaces: of the gateway and of the far end.
    """

    def __init__(self, namespaces: tuple[Namespace, Namespace]) -> None:
        self._left, self._right = namespaces
        self._program = build_program(BENCH / "programs" / "blast.c", with_core=False)
        self._left.ip(f"neigh replace {PEER} lladdr {NOBODY} dev lan0 nud permanent")

    @contextmanager
    def _blasted(self, address: str, flows: int, senders: int = 1) -> Iterator[None]:
        arguments = (address, PORT, flows, PAYLOAD_BYTES, BOUND_S)
        with ExitStack() as stack:
            for _ in range(senders):
                sender = self._left.popen(str(self._program), *map(str, arguments))
                stack.callback(sender.wait)
                stack.callback(sender.kill)
            yield

    def ns_a_packet(self, queues: int) -> float:
        """Return how long a relay of `queues` queues takes for a packet that is queued."""
        with ExitStack() as stack:
            meter = stack.enter_context(Meter())
            with self._left.entered():
                tuns = TunDevice.open_queues("tun0", queues, meter=meter, offload=True)
                socks = SockDevice.bind_group("0.0.0.0", 0, queues, meter=meter, offload=True)  # noqa: S104 - in a namespace of its own
            for device in (*tuns, *socks):
                stack.enter_context(device)
            assert len(tuns) == len(socks) == queues
            self._left.quiet("tun0")
            self._left.up("tun0", "100.64.0.1/24")
            self._left.ip(f"link set dev tun0 txqueuelen {PACKETS // queues}")
            self._fill()
            relay = Relay(tuns, socks, [Peer(f"{PEER}:{PORT}", ("100.64.0.2/32",))])
            return _drained_ns(relay)

    def _fill(self) -> None:
        """Send until every queue of the TUN is full and drops packets."""
        with self._blasted("100.64.0.2", FLOWS):
            deadline = time.monotonic() + BOUND_S
            dropped = self._left.counters("tun0").tx_dropped
            # Each batch of the sender has all flows, so this many losses hit every queue.
            while self._left.counters("tun0").tx_dropped - dropped < 2 * PACKETS:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def bare_ns(self, senders: int) -> float:
        """Return the time a packet of bare senders to the far end, without a relay."""
        with self._blasted(PEER, 1, senders):
            time.sleep(WINDOW_S)  # all have begun
            before, start = self._arrived(), time.perf_counter_ns()
            time.sleep(WINDOW_S)
            arrived, ns = self._arrived() - before, time.perf_counter_ns() - start
        assert arrived > 0
        return ns / arrived

    def _arrived(self) -> int:
        return int(self._right.counters("lan0").rx_packets)


def _drained_ns(relay: Relay) -> float:
    """Start a relay, wait until it has moved all packets, and return the time a packet.

    The time counts from when its threads run, without starting them.
    """
    with relay:
        moved, start = relay.counters().tx.packets, time.perf_counter_ns()
        while relay.counters().tx.packets < PACKETS:
            assert time.perf_counter_ns() - start < BOUND_S * 10**9
            time.sleep(LOOK_S)
        ns = time.perf_counter_ns() - start
        assert relay.counters().tx.packets == PACKETS
    return ns / (PACKETS - moved)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    """The path; skips where there are no rights for it."""
    rights_or_skip()
    with ExitStack() as stack:
        yield Path(stack.enter_context(joined()))


def test_two_queues(benchmark: Any, path: Path) -> None:  # noqa: ANN401 - it has no types
    """Packets a second with two queues and four threads, beside one queue."""
    Turns(benchmark, lambda: path.ns_a_packet(2), lambda: path.ns_a_packet(1)).row(
        f"relay of two queues, {PAYLOAD_BYTES} B, {FLOWS} flows",
        "one queue",
        Budget(">=", 1.8),
        inverse=True,
        rounds=ROUNDS,
    )


def test_two_senders(benchmark: Any, path: Path) -> None:  # noqa: ANN401 - as above
    """The kernel alone: what two cores send beside one."""
    Turns(benchmark, lambda: path.bare_ns(2), lambda: path.bare_ns(1)).row(
        f"two bare senders, {PAYLOAD_BYTES} B", "one sender", inverse=True, rounds=ROUNDS
    )
