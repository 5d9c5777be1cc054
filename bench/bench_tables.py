"""Counting takes at most half the time of other libraries' hash tables, on the same keys.

The tables are DPDK's rte_hash, looked up in bulk, and absl::flat_hash_map: likely choices today for
a data plane's meter. Both find the key of a packet that they know to be complete, and add to a
record of four counters. The meter also checks the packet and takes either direction. The last row
is absl with its prefetch called for the whole batch first. No ring is in the caches.
"""

from typing import Any

import pytest

from bench.bench_count import SIZES, VERSIONS
from bench.driven import compare, table_program
from bench.harness import Budget
from bench.packets import Ring

BUDGET = Budget(">=", 2.0)
TABLES = {
    "rte_hash": ("dpdk.c", "libdpdk", ()),
    "flat_hash_map": ("absl.cc", "absl_flat_hash_map", ()),
    "flat_hash_map, prefetched": ("absl.cc", "absl_flat_hash_map", ("-DPREFETCH",)),
}
LIBRARIES = {"libdpdk": ("-lrte_eal", "-lrte_hash")}
"""Linker options. pkg-config names all of DPDK with its drivers, which take a second to start."""


def row(benchmark: Any, table: str, size: str, version: int, budget: Budget | None) -> None:  # noqa: ANN401
    """Compare with one of the tables."""
    source, package, options = TABLES[table]
    program = table_program(source, package, *options, libraries=LIBRARIES.get(package, ()))
    with Ring(SIZES[size], version) as ring:
        compare(
            benchmark,
            program,
            ring,
            name=f"against {table}, {size}, IPv{version}",
            beside_name="theirs",
            budget=budget,
            prepare=Ring.chill,
        )


@VERSIONS
@pytest.mark.parametrize("size", ["1 k", "64 k", "1 M", "4 M"])
@pytest.mark.parametrize("table", ["rte_hash", "flat_hash_map"])
def test_table(benchmark: Any, table: str, size: str, version: int) -> None:  # noqa: ANN401
    """Twice as fast, or more."""
    row(benchmark, table, size, version, BUDGET)


@VERSIONS
def test_prefetched(benchmark: Any, version: int) -> None:  # noqa: ANN401
    """What prefetching a whole batch gains the other table."""
    row(benchmark, "flat_hash_map, prefetched", "1 M", version, None)
