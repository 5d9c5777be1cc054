"""A writer's batches, timed one by one, beside a poller.

If there are two processors, the writer and the poller each have one of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.interrupts import INTERRUPTS, interrupts
from bench.native import ffi, lib
from bench.packets import Memory, Meter, Ring, counting

__all__ = ["REFILLS", "Stall", "region_of"]

REFILLS = 2_000
"""Batches with nothing of the meter in a cache; other batches are compared with them."""
PERIOD_NS = 300_000


@contextmanager
def _bound(processor: int) -> Iterator[None]:
    """Bind the calling thread to one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Stall:
    """A writer's batches, timed one by one, beside a poller."""

    def __init__(self, meter: Meter, ring: Ring, batches: int, flows: Memory | None) -> None:
        """Allocate the results. `flows`: where the poller drains to; None: it never swaps."""
        if not INTERRUPTS.exists():
            pytest.skip(f"no {INTERRUPTS}: cannot leave out batches that interrupts prolonged")
        # Filled with 1 to touch all pages: their page faults must not be taken for the meter's.
        self.batch_ns = np.full(batches, 1, np.uint32)
        self.marks = np.full(batches, 1, np.uint8)
        self.interrupts = 0
        processors = sorted(os.sched_getaffinity(0))
        self._writer, poller = processors[-1], processors[0]
        self._pass = counting(ring, meter.lanes[0])
        self.c = ffi.new(
            "struct bench_stall *",
            {
                "pass": self._pass,
                "meter": meter.handle,
                "flows": ffi.cast("struct netlog_flow *", flows.address) if flows else ffi.NULL,
                "capacity": flows.n_bytes // ffi.sizeof("struct netlog_flow") if flows else 0,
                "period_ns": PERIOD_NS,
                "poller_cpu": poller,
                "batches": batches,
                "batch_ns": ffi.from_buffer("uint32_t[]", self.batch_ns),
                "marks": ffi.from_buffer("uint8_t[]", self.marks),
            },
        )

    def run(self) -> None:
        """Write all batches, and count the interrupts meanwhile."""
        with _bound(self._writer):
            before = interrupts(self._writer)
            assert lib.bench_stall(self.c) == 0
            self.interrupts = interrupts(self._writer) - before

    def refill(self, memory: int, n_bytes: int) -> None:
        """Write all batches, after flushing the whole memory from the caches before each."""
        with _bound(self._writer):
            before = interrupts(self._writer)
            lib.bench_refill(self.c, ffi.cast("void *", memory), n_bytes)
            self.interrupts = interrupts(self._writer) - before

    def undisturbed(self, marks: int = 0) -> NDArray[np.uint32]:
        """Return the times of batches that have these marks and were not preempted."""
        kept = (self.marks & (marks | lib.BENCH_PREEMPTED)) == marks
        times: NDArray[np.uint32] = self.batch_ns[kept]
        return times


def region_of(meter: Meter) -> tuple[int, int]:
    """Return where the meter's memory is: the one mapping of exactly its size."""
    size = int(lib.netlog_meter_region_bytes(meter.handle))
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if end - begin == size:
            return begin, size
    pytest.skip(f"no mapping of {size} bytes: the kernel joined it with another one")
