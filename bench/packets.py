"""Rings of packets, meters that count them, and the lines of the floor."""

from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench import SEED
from bench.native import ffi, lib

RING_SLOTS = 1 << 20
HOT_SLOTS = 64


class Memory:
    """Zeroed memory, on huge pages if the kernel has them."""

    def __init__(self, n_bytes: int) -> None:
        """Allocate n_bytes."""
        self.n_bytes = n_bytes
        self.address: Any = lib.bench_allocate(n_bytes)
        if not self.address:
            raise MemoryError(f"{n_bytes} bytes")

    def __enter__(self) -> Self:
        """Do nothing: there is nothing to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Free the memory."""
        lib.bench_free(self.address, self.n_bytes)


class Ring(Memory):
    """Slots of 64 bytes, each a packet of 64 bytes of one of `connections` connections."""

    def __init__(self, connections: int, version: int = 4, slots: int = RING_SLOTS) -> None:
        """Allocate the ring, empty."""
        super().__init__(slots * lib.BENCH_SLOT_BYTES)
        self.connections = connections
        self.version = version
        self.slots = slots
        self.data: Any = ffi.cast("uint8_t *", self.address)

    def fill(self, numbers: NDArray[np.integer[Any]]) -> None:
        """Make slot i a packet of connection numbers[i % n]."""
        words = np.resize(numbers, self.slots).astype(np.uint32)
        lib.bench_fill(self.data, self.slots, self.version, ffi.from_buffer("uint32_t[]", words))

    def fill_uniform(self, seed: int) -> None:
        """Draw each packet's connection from all of them, with equal chances."""
        numbers = np.empty(self.slots, np.uint32)
        lib.bench_uniform(
            ffi.from_buffer("uint32_t[]", numbers), self.slots, self.connections, seed
        )
        self.fill(numbers)

    def fill_zipf(self, seed: int) -> None:
        """Draw connections by Zipf's law with exponent 1; the seed determines which are popular."""
        random = np.random.default_rng(seed)
        weights = np.cumsum(1 / np.arange(1, self.connections + 1))
        ranks = np.searchsorted(weights, random.random(self.slots) * weights[-1])
        self.fill(random.permutation(self.connections)[ranks])

    def chill(self) -> None:
        """Flush the ring from the caches."""
        lib.bench_chill(self.data, self.n_bytes)

    def checksum(self) -> str:
        """Return the FNV-1a hash of all slots."""
        return f"{lib.bench_checksum(self.data, self.slots):016x}"


class Meter:
    """A meter opened through the C API, just large enough, with all its lanes acquired."""

    def __init__(self, connections: int, lanes: int = 1) -> None:
        """Open it and acquire all lanes."""
        options = ffi.new(
            "struct netlog_meter_options *",
            {"max_flows": connections, "max_endpoints": 1, "max_lanes": lanes},
        )
        handle = ffi.new("struct netlog_meter **")
        assert lib.netlog_meter_open(options, handle) == 0
        self.handle: Any = handle[0]
        self.lanes: list[Any] = []
        for _ in range(lanes):
            lane = ffi.new("struct netlog_lane **")
            assert lib.netlog_meter_acquire_lane(self.handle, lane) == 0
            self.lanes.append(lane[0])

    def __enter__(self) -> Self:
        """Do nothing: there is nothing to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Release the lanes and close."""
        for lane in self.lanes:
            lib.netlog_lane_release(lane)
        lib.netlog_meter_close(self.handle)

    def swap(self) -> None:
        """Retire the live bank and empty it without draining."""
        assert lib.netlog_meter_swap(self.handle, 10**9) == 0
        lib.netlog_meter_clear(self.handle)

    def meet_all(self, ring: Ring) -> None:
        """Count every connection of the ring once on each lane, in a different order on each."""
        random = np.random.default_rng(SEED)
        for first in range(0, ring.connections, ring.slots):
            numbers = np.arange(first, min(first + ring.slots, ring.connections), dtype=np.uint32)
            for lane in self.lanes:
                ring.fill(random.permutation(numbers))
                lib.bench_count(counting(ring, lane))

    def warm(self, ring: Ring) -> None:
        """Use both banks for all connections of the ring, and leave a live bank that knows them."""
        for _ in range(3):
            self.swap()
            self.meet_all(ring)

    def rows(self) -> int:
        """Swap, empty the retired bank, and return how many rows it had."""
        assert lib.netlog_meter_swap(self.handle, 10**9) == 0
        rows = int(lib.netlog_meter_retired_rows(self.handle, lib.NETLOG_TUN))
        lib.netlog_meter_clear(self.handle)
        return rows


def counting(ring: Ring, lane: Any, packets: int | None = None) -> Any:  # noqa: ANN401
    """Describe a pass in which the meter's lane counts the ring."""
    packets = packets or max(ring.slots, int(lib.BENCH_BATCH))
    return ffi.new(
        "struct bench_pass *",
        {"ring": ring.data, "slots": ring.slots, "packets": packets, "lane": lane},
    )


def flooring(ring: Ring, lines: Memory, packets: int | None = None) -> Any:  # noqa: ANN401
    """Describe a pass in which the floor adds to the lines."""
    return ffi.new(
        "struct bench_pass *",
        {
            "ring": ring.data,
            "slots": ring.slots,
            "packets": packets or ring.slots,
            "lines": ffi.cast("struct bench_line *", lines.address),
        },
    )


def lines_for(connections: int) -> Memory:
    """Return as many lines as there are connections."""
    return Memory(connections * ffi.sizeof("struct bench_line"))
