"""Counting a packet in batches costs at most twice the floor, 2.5 times for IPv6.

Beyond 64 k connections 2.5 and 3 times. The floor: bench/floor.c.
"""

from collections.abc import Callable
from typing import Any

import pytest

from bench.harness import Budget, Turns
from bench.native import lib
from bench.packets import HOT_SLOTS, SEED, Meter, Ring, counting, flooring, lines_for

SIZES = {"1": 1, "1 k": 1 << 10, "64 k": 1 << 16, "1 M": 1 << 20, "4 M": 1 << 22}

# Up to 64 k connections, and beyond.
LIMITS = {4: (2.0, 2.5), 6: (2.5, 3.0)}


def budget_of(version: int, connections: int) -> Budget:
    """The issue's limit for this size."""
    return Budget("<=", LIMITS[version][connections > SIZES["64 k"]])


def timed(function: Any, turn: Any) -> Callable[[], float]:  # noqa: ANN401 - cffi
    """A callable that runs the pass and returns CPU ns per packet."""

    def run() -> float:
        function(turn)
        return float(turn.cpu_ns / turn.packets)

    return run


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", SIZES)
def test_count_uniform(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """Uniform traffic from a cold ring of 1 M packets is counted within the budget."""
    connections = SIZES[size]
    with Ring(connections, version) as ring, lines_for(connections) as lines:
        with Meter(connections) as meter:
            meter.warm(ring)

            def prepare(number: int) -> None:
                ring.fill_uniform(SEED + number)
                ring.chill()

            Turns(
                benchmark,
                timed(lib.bench_count, counting(ring, meter.lanes[0])),
                timed(lib.bench_floor, flooring(ring, lines)),
                prepare,
            ).row(
                f"count, {size} connections, IPv{version}",
                "floor",
                budget_of(version, connections),
            )
            assert meter.rows() == connections
