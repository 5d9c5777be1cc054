"""Counting is at least ten times faster than the table of the system that netlog follows.

With connections that are all new, it is at least five times faster.

That table is `tailscale.com/net/connstats` of v1.34, a Go map under a mutex, compiled from its own
source by the Go tool: bench/seed. The system's present table, bench/today, is also measured,
without a budget. All count the same packets from a ring that the same process has just written. The
ring has 1 M packets. Where the table is so small that reading the ring dominates, there is also a
row with a ring that fits into the second-level cache.
"""

from pathlib import Path
from typing import Any

import pytest

from bench.bench_count import SIZES, VERSIONS
from bench.driven import compare, compare_all_new, go_program
from bench.harness import Budget
from bench.packets import Ring

BUDGET = Budget(">=", 10.0)
NEW_BUDGET = Budget(">=", 5.0)

# 1 MiB of headers, counted over and over.
CACHED_SLOTS = 1 << 14
CACHED_PASSES = 32


@pytest.fixture(scope="module")
def seed() -> Path:
    """The seed's table."""
    return go_program("seed")


@pytest.fixture(scope="module")
def today() -> Path:
    """The system's present table."""
    return go_program("today")


@VERSIONS
@pytest.mark.parametrize("size", SIZES)
def test_seed(benchmark: Any, seed: Path, size: str, version: int) -> None:  # noqa: ANN401
    """Ten times faster at every size."""
    with Ring(SIZES[size], version) as ring:
        name = f"against the seed's table, {size}, IPv{version}"
        compare(benchmark, seed, ring, name=name, beside_name="Go map", budget=BUDGET)


@VERSIONS
@pytest.mark.parametrize("size", ["1 k", "64 k", "1 M"])
def test_all_new(benchmark: Any, seed: Path, size: str, version: int) -> None:  # noqa: ANN401
    """Five times faster if every packet is the first of its connection."""
    with Ring(SIZES[size], version) as ring:
        name = f"against the seed's table, {size} all new, IPv{version}"
        compare_all_new(
            benchmark, seed, ring, name=name, beside_name="Go map", budget=NEW_BUDGET, rounds=3
        )


@VERSIONS
@pytest.mark.parametrize("size", ["1", "1 k"])
def test_cached_ring(benchmark: Any, seed: Path, size: str, version: int) -> None:  # noqa: ANN401
    """Table against table: the headers are in the cache."""
    with Ring(SIZES[size], version, CACHED_SLOTS) as ring:
        name = f"against the seed's table, {size}, IPv{version}, cached ring"
        compare(
            benchmark,
            seed,
            ring,
            passes=CACHED_PASSES,
            name=name,
            beside_name="Go map",
            budget=BUDGET,
        )


@VERSIONS
@pytest.mark.parametrize("size", ["1 k", "64 k", "1 M"])
def test_today(benchmark: Any, today: Path, size: str, version: int) -> None:  # noqa: ANN401
    """The present table starts over after about a thousand connections, so it never grows large."""
    with Ring(SIZES[size], version) as ring:
        name = f"against Tailscale's table of today, {size}, IPv{version}"
        compare(benchmark, today, ring, name=name, beside_name="Go map", budget=None, rounds=3)
