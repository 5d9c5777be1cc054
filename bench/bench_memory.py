"""A connection takes at most 96 bytes a bank; a meter of 4 096 with one lane fits in 1 MiB."""

from pathlib import Path
from typing import Any

import pytest

from bench.bench_count import SIZES
from bench.harness import Budget, Row
from bench.native import lib
from bench.packets import Meter, Ring

PAGE_BYTES = 4096
BANKS = 2


def resident_bytes() -> int:
    """Return the process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.parametrize("connections", [4096, 65_537, SIZES["1 M"], SIZES["4 M"]])
def test_bytes_per_connection(benchmark: Any, connections: int) -> None:  # noqa: ANN401
    """The whole region, divided by the connections of both banks."""

    def measure() -> float:
        with Meter(connections) as meter:
            region = int(lib.netlog_meter_region_bytes(meter.handle))
            return region / (BANKS * connections)

    n_bytes = benchmark.pedantic(measure, rounds=1, iterations=1)
    Row(
        f"memory a connection and bank, {connections} connections",
        n_bytes,
        "B",
        budget=Budget("<=", 96, "B"),
    ).save(benchmark)


def test_resident(benchmark: Any) -> None:  # noqa: ANN401
    """Both banks of 4 096 connections, full, grow the process by at most 1 MiB."""

    def measure() -> int:
        with Ring(4096, slots=4096) as ring:
            ring.fill_uniform(0)
            with Meter(4096) as warm_up:
                warm_up.warm(ring)
            before = resident_bytes()
            with Meter(4096) as meter:
                meter.warm(ring)
                assert meter.rows() == 4096
                return resident_bytes() - before

    grown = benchmark.pedantic(measure, rounds=1, iterations=1)
    assert grown > 4096 * 64
    Row(
        "memory of a full 4 096-connection meter, resident",
        grown / 1024,
        "KiB",
        budget=Budget("<=", 1024, "KiB"),
    ).save(benchmark)
