"""Cost of counting a packet by number of connections, with the floor and the seed's table."""

from pathlib import Path
from typing import Any

import pytest

from bench.bench_count import VERSIONS, beside_floor
from bench.driven import compare, go_program
from bench.harness import curve
from bench.packets import Ring

CONNECTIONS = {
    "1 k": 1 << 10,
    "4 k": 1 << 12,
    "16 k": 1 << 14,
    "64 k": 1 << 16,
    "256 k": 1 << 18,
    "1 M": 1 << 20,
    "4 M": 1 << 22,
}


@pytest.fixture(scope="module")
def seed() -> Path:
    """The seed's table."""
    return go_program("seed")


@VERSIONS
@pytest.mark.parametrize("size", CONNECTIONS)
def test_count(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """A point of the meter's curve and one of the floor's."""
    connections = CONNECTIONS[size]
    curve(benchmark, "count", connections, f"netlog, IPv{version}", f"floor, IPv{version}")
    beside_floor(benchmark, f"count, {size}, IPv{version}", connections, version, rounds=9)


@VERSIONS
@pytest.mark.parametrize("size", CONNECTIONS)
def test_seed(benchmark: Any, seed: Path, size: str, version: int) -> None:  # noqa: ANN401
    """A point of the seed's curve."""
    connections = CONNECTIONS[size]
    curve(benchmark, "count", connections, "", f"seed, IPv{version}")
    with Ring(connections, version) as ring:
        name = f"against the seed's table, {size}, IPv{version}"
        compare(benchmark, seed, ring, name=name, beside_name="Go map", budget=None, rounds=3)
