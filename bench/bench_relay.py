"""A relay with metering on moves at least 0.98 of the packets that it moves with metering off.

Two gateways in network namespaces that this bench makes, each with a TUN, a UDP socket and a relay;
a sender behind one blasts at the other, with more than gets through. Packets a second are those
that the second gateway wrote to its TUN. The topology is that of the system tests.
"""

import importlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bench.harness import Budget, Row
from bench.native import BENCH, build_program

ROUNDS = 9
WINDOW_S = 0.7
SETTLE_S = 0.15
FLOWS = 64
PAYLOAD_BYTES = 200
PORT = 40000
BOUND_S = 60


@dataclass
class Path:
    """Sender, both gateways, and what they have moved."""

    gateways: tuple[Any, Any]
    relays: tuple[Any, Any]

    def meter(self, *, enabled: bool) -> None:
        """Switch metering of all four devices."""
        for gateway in self.gateways:
            gateway.tun.set_statistics_enabled(enabled)
            gateway.sock.set_statistics_enabled(enabled)

    def window(self) -> tuple[float, float]:
        """Packets a second that arrived, and CPU ns of this process a packet, over one window."""
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
    sys.path.append(str(BENCH.parent / "tests" / "system"))
    gateways, namespace = importlib.import_module("gateways"), importlib.import_module("namespace")
    if missing := namespace.missing_rights():
        pytest.skip(missing)
    program = build_program(BENCH / "programs" / "blast.c", with_core=False)
    with ExitStack() as stack:
        left, right = stack.enter_context(gateways.pair())
        # Bound, and never read: the kernel need not answer with ICMP, and drops them cheaply.
        for port in range(PORT, PORT + FLOWS):
            stack.enter_context(right.udp(right.overlay4, port))
        relays = tuple(stack.enter_context(gateway.relay()) for gateway in (left, right))
        arguments = (right.overlay4, PORT, FLOWS, PAYLOAD_BYTES, BOUND_S)
        sender = left.namespace.popen(str(program), *map(str, arguments))
        stack.callback(sender.wait)
        stack.callback(sender.kill)
        yield Path((left, right), relays)


def test_relay(benchmark: Any) -> None:  # noqa: ANN401
    """Metering on and off in turns, on the same running relays."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    costs: dict[bool, list[float]] = {True: [], False: []}
    with blasted() as path:

        def turn() -> None:
            # Each first in every other round.
            order = (True, False) if len(rates[True]) % 2 else (False, True)
            for enabled in order:
                path.meter(enabled=enabled)
                time.sleep(SETTLE_S)
                rate, cost = path.window()
                rates[enabled].append(rate)
                costs[enabled].append(cost)

        benchmark.pedantic(turn, rounds=ROUNDS, iterations=1)
        rows = path.gateways[1].tun.extract_statistics()
        assert rows["rx_packets"].sum() > 0
    metered, plain = (statistics.median(rates[enabled]) for enabled in (True, False))
    benchmark.extra_info.update(
        rounds=rates[True],
        beside_rounds=rates[False],
        cpu_ns_per_packet={"metered": costs[True], "not metered": costs[False]},
        cpus=len(os.sched_getaffinity(0)),
    )
    Row(
        f"relay, {PAYLOAD_BYTES} B datagrams, {FLOWS} flows",
        metered / 1000,
        "k/s",
        plain / 1000,
        "metering off",
        metered / plain,
        Budget(">=", 0.98),
    ).save(benchmark)
