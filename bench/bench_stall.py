"""Over 1 000 swaps under load no writer's stall differs by more than one batch's refill.

The same writer runs with a poller beside it that swaps, drains and clears, and without one, in
turns, until there were enough swaps. The JSON has the histograms of all batches that nothing else
interrupted, and `python -m bench.report` draws them. The row is what the poller adds to the 99.9th
percentile, because more than one batch in a thousand is the first after a swap.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import SEED
from bench.bench_count import SIZES
from bench.harness import Budget, Row
from bench.interrupts import longest_left_out
from bench.native import ffi, lib
from bench.packets import Memory, Meter, Ring
from bench.stalls import REFILLS, Stall, region_of

SWAPS = 1000
BATCHES = 400_000
MAX_TURNS = 20
LONGEST = 0.999

# Four bins for each doubling, from 64 ns to 67 ms.
EDGES = 64 * 2 ** (np.arange(81) / 4)


def histogram(times: NDArray[np.uint32]) -> list[int]:
    """Count batches by their time, in the bins between EDGES; longer ones are in the last bin."""
    counts: list[int] = np.histogram(np.clip(times, EDGES[0], EDGES[-1]), EDGES)[0].tolist()
    return counts


@pytest.mark.parametrize("size", ["1 k", "64 k"])
def test_stall(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """With and without a poller."""
    connections = SIZES[size]
    flow_bytes = 2 * connections * ffi.sizeof("struct netlog_flow")
    beside: list[NDArray[np.uint32]] = []
    alone: list[NDArray[np.uint32]] = []
    swaps, turns = 0, 0
    with Ring(connections) as ring, Meter(2 * connections) as meter, Memory(flow_bytes) as flows:
        meter.warm(ring)
        ring.fill_uniform(SEED)
        swapped, quiet = Stall(meter, ring, BATCHES, flows), Stall(meter, ring, BATCHES, None)
        while swaps < SWAPS and turns < MAX_TURNS:
            for stall, kept in ((quiet, alone), (swapped, beside)):
                stall.run()
                kept.append(longest_left_out(stall.undisturbed(), stall.interrupts))
            swaps += len(swapped.undisturbed(lib.BENCH_FIRST_OF_EPOCH))
            turns += 1
        assert swaps >= SWAPS // 2
        refilled = Stall(meter, ring, REFILLS, None)
        refilled.refill(*region_of(meter))
    polled, unpolled = np.concatenate(beside), np.concatenate(alone)
    one_batch = float(np.quantile(refilled.undisturbed(), 0.99))
    longest = float(np.quantile(polled, LONGEST) - np.quantile(unpolled, LONGEST))
    benchmark.pedantic(lambda: None, rounds=1)  # measured already
    benchmark.extra_info["histogram"] = {
        "size": size,
        "swaps": swaps,
        "edges_ns": EDGES.tolist(),
        "one_batch_refilled_ns": one_batch,
        "with the poller": histogram(polled),
        "without": histogram(unpolled),
        "longest_ns": {"with the poller": int(polled.max()), "without": int(unpolled.max())},
    }
    Row(
        f"stall over {swaps} swaps, {size}, what a poller adds at the 99.9th percentile",
        longest,
        "ns",
        one_batch,
        "refilled batch",
        longest / one_batch,
        Budget("<=", 1.0),
    ).save(benchmark)
