"""A relay with metering on moves at least 0.98 of the packets that it moves with metering off.

Two gateways in network namespaces that this bench makes, each with a TUN, a UDP socket and a relay.
A sender behind one sends to the other more than gets through. Packets a second are those that the
second gateway wrote to its TUN. The topology is that of the system tests.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bench import BENCH
from bench.compiling import build_program
from bench.harness import Budget
from bench.peers import rights_or_skip
from bench.windows import Windows, alternate, save
from netlog import Relay
from tests.support.gateways import Gateway, pair

# Many short windows: most disturbances last longer than one, and so hit both kinds alike.
ROUNDS = 201
WINDOW_S = 0.07
SETTLE_S = 0.01
FLOWS = 64
PAYLOAD_BYTES = 200
PORT = 40000
BOUND_S = 60


@dataclass
class Path:
    """The sender and both gateways, and what they have moved."""

    gateways: tuple[Gateway, Gateway]
    relays: tuple[Relay, ...]

    def meter(self, *, enabled: bool) -> None:
        """Switch metering of all four devices on or off."""
        for gateway in self.gateways:
            gateway.tun.set_statistics_enabled(enabled)
            gateway.sock.set_statistics_enabled(enabled)

    def window(self) -> tuple[float, float]:
        """Return packets a second that arrived, and CPU ns a packet of this process."""
        packets = self.relays[1].counters().rx.packets
        wall, cpu = time.perf_counter(), time.process_time_ns()
        time.sleep(WINDOW_S)
        arrived = self.relays[1].counters().rx.packets - packets
        elapsed = time.perf_counter() - wall
        assert arrived > 0
        return arrived / elapsed, (time.process_time_ns() - cpu) / arrived


@contextmanager
def blasted() -> Iterator[Path]:
    """Both gateways running, and the sender; skips where there are no rights for it."""
    rights_or_skip()
    program = build_program(BENCH / "programs" / "blast.c", with_core=False)
    with ExitStack() as stack:
        left, right = stack.enter_context(pair())
        # Bound, and never read: the kernel need not answer with ICMP, and drops them cheaply.
        for port in range(PORT, PORT + FLOWS):
            stack.enter_context(right.udp(right.overlay4, port))
        relays = tuple(stack.enter_context(gateway.relay()) for gateway in (left, right))
        arguments = (right.overlay4, PORT, FLOWS, PAYLOAD_BYTES, BOUND_S)
        sender = left.namespace.popen(str(program), *map(str, arguments))
        stack.callback(sender.wait)
        stack.callback(sender.kill)
        yield Path((left, right), relays)


@pytest.fixture(scope="module")
def windows() -> tuple[Windows, Windows]:
    """Metering on and off in turns, on the same running relays."""
    with blasted() as path:
        metered, plain = alternate(path, ROUNDS, SETTLE_S)
        # Check that both ends did meter while it was on.
        for gateway in path.gateways:
            snapshot = gateway.meter.snapshot()
            assert len(snapshot.tun) == FLOWS
            assert len(snapshot.sock) == 1
    return metered, plain


def test_throughput(benchmark: Any, windows: tuple[Windows, Windows]) -> None:  # noqa: ANN401
    """Packets a second."""
    metered, plain = windows
    name = f"relay, {PAYLOAD_BYTES} B, {FLOWS} flows, packets a second"
    save(benchmark, name, "k/s", metered.rates, plain.rates, Budget(">=", 0.98), scale=1000)


def test_cost(benchmark: Any, windows: tuple[Windows, Windows]) -> None:  # noqa: ANN401
    """CPU time of both relays a packet, which other users of the machine affect less."""
    metered, plain = windows
    name = "relay, CPU time a packet, both ends"
    save(benchmark, name, "ns", metered.costs_ns, plain.costs_ns)
