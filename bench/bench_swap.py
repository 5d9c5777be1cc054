"""A swap stalls a writer for no more than refilling one batch's cache lines takes.

Swapping and draining 1 M connections, counted on two lanes and merged, costs at most 60 ns each.
"""

from typing import Any

import numpy as np
import pytest

import netlog
from bench import SEED
from bench.bench_count import SIZES
from bench.harness import Budget, Row, Turns
from bench.native import ffi, lib
from bench.packets import Memory, Meter, Ring
from bench.stalls import REFILLS, Stall, region_of

BATCHES = 1_000_000

# "Longest" is the 99th percentile of either kind: longer batches are due to interrupts, which come
# with and without swaps. The JSON has all quantiles.
LONGEST = 0.99


@pytest.mark.parametrize("size", ["1 k", "64 k"])
def test_stall(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """The first batch after a swap takes no longer than one whose tables left the cache."""
    connections = SIZES[size]
    flow_bytes = 2 * connections * ffi.sizeof("struct netlog_flow")
    # Twice the room, because a table that is nearly full would wake the poller.
    with Ring(connections) as ring, Meter(2 * connections) as meter, Memory(flow_bytes) as flows:
        meter.warm(ring)
        ring.fill_uniform(SEED)
        swapped = Stall(meter, ring, BATCHES, flows)
        quiet = Stall(meter, ring, BATCHES, None)
        refilled = Stall(meter, ring, REFILLS, None)
        quiet.run()
        benchmark.pedantic(swapped.run, rounds=1, iterations=1)
        assert lib.netlog_meter_swap(meter.handle, 10**9) == 0
        lib.netlog_meter_clear(meter.handle)
        meter.meet_all(ring)
        ring.fill_uniform(SEED)
        refilled.refill(*region_of(meter))

        first = swapped.undisturbed(lib.BENCH_FIRST_OF_EPOCH)
        assert len(first) > 10
        longest = float(np.quantile(first, LONGEST))
        beside = float(np.quantile(refilled.undisturbed(), LONGEST))
        benchmark.extra_info.update(
            swaps=len(first),
            page_faults=swapped.c.page_faults,
            sleeps=swapped.c.sleeps,
            batch_ns_quantiles={
                name: np.quantile(times, [0.5, 0.95, 0.99, 0.999, 1]).tolist()
                for name, times in {
                    "first after a swap": first,
                    "with swaps": swapped.undisturbed(),
                    "without swaps": quiet.undisturbed(),
                    "refilled from memory": refilled.undisturbed(),
                }.items()
            },
        )
        Row(
            f"first batch after a swap, {size}, 99th percentile",
            longest,
            "ns",
            beside,
            "refilled batch",
            longest / beside,
            Budget("<=", 1.0),
        ).save(benchmark)
        # If the meter caused page faults, each swap would have one. A few may come from the kernel,
        # which can take a page away at any time.
        assert 100 * swapped.c.page_faults < len(first)
        assert swapped.c.sleeps == 0


def drained_ns(meter: Meter, flows: Memory) -> tuple[float, int]:
    """Swap, drain and clear; return CPU ns of swap and drain, and the number of rows."""
    unattributed = ffi.new("struct netlog_unattributed *")
    capacity = flows.n_bytes // ffi.sizeof("struct netlog_flow")
    rows = ffi.cast("struct netlog_flow *", flows.address)
    begin = lib.bench_cpu_ns()
    assert lib.netlog_meter_swap(meter.handle, 10**9) == 0
    n = lib.netlog_meter_drain(meter.handle, lib.NETLOG_TUN, rows, capacity, unattributed)
    elapsed = lib.bench_cpu_ns() - begin
    lib.netlog_meter_clear(meter.handle)
    return float(elapsed), int(n)


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("lanes", [1, 2])
def test_drain(benchmark: Any, lanes: int, version: int) -> None:  # noqa: ANN401
    """Each connection of the merged lanes costs at most 60 ns."""
    connections = SIZES["1 M"]
    flow_bytes = ffi.sizeof("struct netlog_flow")
    with (
        Ring(connections, version) as ring,
        Meter(connections, lanes) as meter,
        Memory(lanes * connections * flow_bytes) as flows,
        Memory(connections * flow_bytes) as copy,
    ):
        meter.warm(ring)

        def drain() -> float:
            elapsed, n = drained_ns(meter, flows)
            assert n == connections
            meter.meet_all(ring)
            return elapsed / n

        def copied() -> float:
            return float(lib.bench_memcpy(copy.address, flows.address, copy.n_bytes) / connections)

        Turns(benchmark, drain, copied).row(
            f"swap and drain 1 M, {lanes} lane{'s' * (lanes > 1)}, IPv{version}",
            "memcpy",
            Budget("<=", 60, "ns"),
            rounds=5,
        )


def test_snapshot(benchmark: Any) -> None:  # noqa: ANN401
    """The same from Python: `Meter.snapshot` allocates the rows that it returns."""
    connections = SIZES["1 M"]
    with Ring(connections) as ring, netlog.Meter(connections, max_endpoints=1) as meter:
        ring.fill(np.arange(connections))
        data = np.frombuffer(ffi.buffer(ring.data, ring.n_bytes), np.uint8)
        starts = np.arange(ring.slots, dtype=np.uint64) * lib.BENCH_SLOT_BYTES
        lengths = np.full(ring.slots, lib.BENCH_SLOT_BYTES, np.uint64)
        words = np.zeros(connections * ffi.sizeof("struct netlog_flow") // 8, np.uint64)
        into = np.zeros_like(words)

        def snapshot() -> float:
            meter.update_batch(data, starts, lengths)
            begin = lib.bench_cpu_ns()
            rows = len(meter.snapshot().tun)
            elapsed = lib.bench_cpu_ns() - begin
            assert rows == connections
            meter.clear()
            return float(elapsed / rows)

        def copied() -> float:
            begin = lib.bench_cpu_ns()
            np.copyto(into, words)
            return float((lib.bench_cpu_ns() - begin) / connections)

        Turns(benchmark, snapshot, copied).row("Meter.snapshot 1 M, 1 lane", "memcpy", rounds=5)
