"""Two writer threads, each with its own lane, scale at least 0.9 as well as the floor does.

On one hot connection two threads are never slower than one. Scaling is the number of packets that
two threads count in the CPU time in which one thread counts its own: 2 is perfect.
"""

from collections.abc import Callable
from typing import Any

import pytest

from bench import SEED
from bench.bench_count import SIZES
from bench.harness import Budget, Turns
from bench.native import lib
from bench.packets import Meter, Ring, counting, flooring, lines_for


def scaling(
    function: Any,  # noqa: ANN401 - cffi
    first: Any,  # noqa: ANN401
    second: Any,  # noqa: ANN401
    chill: Callable[[], None],
) -> Callable[[], float]:
    """Return a callable that runs a pass alone and then two at once, and returns their speed-up."""

    def run() -> float:
        chill()
        function(first)
        alone = first.cpu_ns
        chill()
        assert lib.bench_pair(first, second) > 0
        return float(2 * alone / max(first.cpu_ns, second.cpu_ns))

    return run


@pytest.mark.parametrize("size", ["1", "1 k", "64 k", "1 M"])
def test_two_writers(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """Two lanes scale like two floors."""
    connections = SIZES[size]
    with (
        Ring(connections) as left,
        Ring(connections) as right,
        Meter(connections, lanes=2) as meter,
        lines_for(connections) as left_lines,
        lines_for(connections) as right_lines,
    ):
        meter.warm(left)

        def fill(number: int) -> None:
            left.fill_uniform(SEED + 2 * number)
            right.fill_uniform(SEED + 2 * number + 1)

        def chill() -> None:
            left.chill()
            right.chill()

        one, two = meter.lanes
        Turns(
            benchmark,
            scaling(lib.bench_count, counting(left, one), counting(right, two), chill),
            scaling(
                lib.bench_floor, flooring(left, left_lines), flooring(right, right_lines), chill
            ),
            fill,
        ).row(f"two writers, {size}", "floor's", Budget(">=", 0.9), unit="x one")
        assert meter.rows() == 2 * connections


def test_one_hot_connection(benchmark: Any) -> None:  # noqa: ANN401
    """Two threads that count the same connection are not slower than one thread."""
    with Ring(1) as left, Ring(1) as right, Meter(1, lanes=2) as meter:
        meter.warm(left)
        for ring in (left, right):
            ring.fill_uniform(SEED)
        first, second = counting(left, meter.lanes[0]), counting(right, meter.lanes[1])

        def alone() -> float:
            lib.bench_count(first)
            return float(first.cpu_ns / first.packets)

        def both() -> float:
            assert lib.bench_pair(first, second) > 0
            return float(max(first.cpu_ns, second.cpu_ns) / (first.packets + second.packets))

        def chill(_number: int) -> None:
            left.chill()
            right.chill()

        Turns(benchmark, both, alone, chill).row(
            "two writers, one hot connection", "one writer", Budget(">=", 1.0), inverse=True
        )
