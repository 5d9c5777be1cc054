"""Counting a packet in batches costs at most twice the floor, 2.3 times for IPv6, at every size.

The floor is bench/floor.c. Rows without a budget show related cases: other traffic, a ring that is
in the cache, counting from Python.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import netlog
from bench import SEED
from bench.harness import ROUNDS, Budget, Row, Turns, tool_or_skip
from bench.instructions import CONNECTIONS, count_instructions
from bench.native import ffi, lib
from bench.packets import HOT_SLOTS, RING_SLOTS, Meter, Ring, counting, flooring, lines_for

SIZES = {"1": 1, "1 k": 1 << 10, "64 k": 1 << 16, "1 M": 1 << 20, "4 M": 1 << 22}
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])

# The budget for each IP version, at every size.
LIMITS = {4: Budget("<=", 2.0), 6: Budget("<=", 2.3)}

# A hot ring is counted repeatedly, up to this many packets, so that a pass is long enough to time.
HOT_PACKETS = 1 << 18


def timed(function: Any, turn: Any) -> Callable[[], float]:  # noqa: ANN401 - cffi
    """Return a callable that runs the pass and returns CPU ns per packet."""

    def run() -> float:
        function(turn)
        return float(turn.cpu_ns / turn.packets)

    return run


def beside_floor(  # noqa: PLR0913 - a row's columns
    benchmark: Any,  # noqa: ANN401
    name: str,
    connections: int,
    version: int,
    budget: Budget | None = None,
    *,
    fill: Callable[[Ring, int], None] = lambda ring, number: ring.fill_uniform(SEED + number),
    rounds: int = ROUNDS,
) -> None:
    """Measure one row: the meter's time for a packet from a cold ring of 1 M, and the floor's.

    Args:
        benchmark: pytest-benchmark's fixture.
        name: of the row.
        connections: the meter knows them all, and the floor has a line for each.
        version: of IP.
        budget: on the ratio.
        fill: makes the ring's packets for a round. Both turns of a round use the same packets, so
            it is called once.
        rounds: number of rounds.
    """
    with (
        Ring(connections, version) as ring,
        lines_for(connections) as lines,
        Meter(connections) as meter,
    ):
        meter.warm(ring)
        filled: list[int] = []

        def prepare(number: int) -> None:
            if number not in filled:
                fill(ring, number)
                filled.append(number)
            ring.chill()

        Turns(
            benchmark,
            timed(lib.bench_count, counting(ring, meter.lanes[0])),
            timed(lib.bench_floor, flooring(ring, lines)),
            prepare,
        ).row(name, "floor", budget, rounds=rounds)
        assert meter.rows() == connections


@pytest.mark.parametrize("size", ["1 k", "64 k", "1 M"])
def test_mixed(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """Packets of both families in turn, each with half of the connections."""
    connections = SIZES[size]
    with (
        Ring(connections) as ring,
        Ring(connections, 6) as other,
        lines_for(connections) as lines,
        Meter(connections) as meter,
    ):

        def mix(numbers: NDArray[np.integer[Any]]) -> None:
            # Even connections are IPv4, odd ones IPv6.
            four, six = (
                np.frombuffer(ffi.buffer(each.data, each.n_bytes), np.uint8).reshape(-1, 64)
                for each in (ring, other)
            )
            ring.fill(numbers)
            other.fill(numbers)
            four[1::2] = six[1::2]

        def prepare(number: int) -> None:
            random = np.random.default_rng(SEED + number)
            numbers = random.integers(connections // 2, size=ring.slots) * 2
            numbers[1::2] += 1
            mix(numbers)
            ring.chill()

        for _ in range(2):
            meter.swap()
            mix(np.arange(connections))
            lib.bench_count(counting(ring, meter.lanes[0]))
        Turns(
            benchmark,
            timed(lib.bench_count, counting(ring, meter.lanes[0])),
            timed(lib.bench_floor, flooring(ring, lines)),
            prepare,
        ).row(f"count, {size}, IPv4 and IPv6 by turns", "floor", rounds=7)
        assert meter.rows() == connections


@VERSIONS
@pytest.mark.parametrize("size", SIZES)
def test_uniform(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """Uniform traffic from a cold ring of 1 M packets is counted within the budget."""
    name = f"count, {size}, IPv{version}"
    beside_floor(benchmark, name, SIZES[size], version, LIMITS[version])


@VERSIONS
def test_zipf(benchmark: Any, version: int) -> None:  # noqa: ANN401
    """Traffic distributed by Zipf's law, 1 M connections."""
    beside_floor(
        benchmark,
        f"count, 1 M, IPv{version}, Zipf",
        SIZES["1 M"],
        version,
        fill=lambda ring, number: ring.fill_zipf(SEED + number),
        rounds=7,
    )


@VERSIONS
@pytest.mark.parametrize("size", ["64 k", "1 M"])
def test_all_new(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """Every packet is a new connection, in a bank that was used before."""
    connections = SIZES[size]
    with (
        Ring(connections, version, connections) as ring,
        lines_for(connections) as lines,
        Meter(connections) as meter,
    ):
        meter.warm(ring)
        random = np.random.default_rng(SEED)

        def prepare(_number: int) -> None:
            meter.swap()
            ring.fill(random.permutation(connections))
            ring.chill()

        Turns(
            benchmark,
            timed(lib.bench_count, counting(ring, meter.lanes[0])),
            timed(lib.bench_floor, flooring(ring, lines)),
            prepare,
        ).row(f"count, {size} all new, IPv{version}", "floor")
        assert meter.rows() == connections


def collisions(ring: Ring, wanted: int) -> NDArray[np.uint32]:
    """Return connections that share a bucket in a table of `wanted` connections, for a guessed key.

    This is the hash of csrc/packet/key.h, over all connections of the ring.
    """
    ring.fill(np.arange(ring.slots))
    slots = np.frombuffer(ffi.buffer(ring.data, ring.n_bytes), np.uint8)
    words = slots.view(">u4").reshape(ring.slots, -1)
    protos = slots.reshape(ring.slots, -1)[:, 9].astype(np.uint32)
    ports = words[:, 5] << 16 | words[:, 5] >> 16
    secret = np.random.default_rng(SEED).integers(0, 1 << 32, 6, np.uint32)

    def product(low: NDArray[Any], high: NDArray[Any], keys: NDArray[Any]) -> NDArray[Any]:
        lower, upper = (low.astype(np.uint32) + keys[0]), (high.astype(np.uint32) + keys[1])
        multiplied: NDArray[Any] = np.multiply(lower, upper, dtype=np.uint64)
        return multiplied

    source, target = (words[:, at].astype(np.uint32).byteswap() for at in (3, 4))
    total = product(source, target, secret[:2]) + product(ports, protos << 8 | 4, secret[2:4])
    folded = product(total & 0xFFFFFFFF, total >> np.uint64(32), secret[4:])
    bucket = (folded ^ folded >> np.uint64(32)) & np.uint64(wanted // 8 - 1)
    return np.flatnonzero(bucket == 0)[:wanted].astype(np.uint32)


def test_guessed_key(benchmark: Any) -> None:  # noqa: ANN401
    """Connections that collide under a guessed key, which is not the meter's, cost no more."""
    connections = SIZES["1 k"]
    with (
        Ring(RING_SLOTS) as picked,
        Ring(connections) as uniform,
        Meter(connections) as meter,
        Meter(connections) as other,
    ):
        chosen = collisions(picked, connections)
        assert len(chosen) == connections
        other.warm(uniform)
        picked.fill(chosen)
        lib.bench_count(counting(picked, meter.lanes[0]))
        random = np.random.default_rng(SEED)

        def prepare(number: int) -> None:
            uniform.fill_uniform(SEED + number)
            picked.fill(random.choice(chosen, picked.slots))
            uniform.chill()
            picked.chill()

        Turns(
            benchmark,
            timed(lib.bench_count, counting(picked, meter.lanes[0])),
            timed(lib.bench_count, counting(uniform, other.lanes[0])),
            prepare,
        ).row("count, 1 k picked to collide by a guessed key", "uniform")
        assert meter.rows() == connections


@VERSIONS
@pytest.mark.parametrize("size", ["1", "1 k"])
def test_hot_ring(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """Headers are in the cache, as after a small receive, so the cost is mostly instructions."""
    connections = SIZES[size]
    with (
        Ring(connections, version) as ring,
        Ring(connections, version, HOT_SLOTS) as hot,
        lines_for(connections) as lines,
        Meter(connections) as meter,
    ):
        meter.warm(ring)
        Turns(
            benchmark,
            timed(lib.bench_count, counting(hot, meter.lanes[0], HOT_PACKETS)),
            timed(lib.bench_floor, flooring(hot, lines, HOT_PACKETS)),
            lambda number: hot.fill_uniform(SEED + number),
        ).row(f"count, {size}, IPv{version}, hot ring", "floor")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("per_call", [64, 4096])
def test_from_python(benchmark: Any, size: str, per_call: int) -> None:  # noqa: ANN401
    """`Meter.update_batch` on the same ring, with `per_call` packets a call."""
    connections = SIZES[size]
    calls = 2048 if per_call == 64 else 128
    with (
        Ring(connections) as ring,
        lines_for(connections) as lines,
        netlog.Meter(connections, max_endpoints=1, max_lanes=1) as meter,
    ):
        data = np.frombuffer(ffi.buffer(ring.data, ring.n_bytes), np.uint8)
        starts = np.arange(ring.slots, dtype=np.uint64) * lib.BENCH_SLOT_BYTES
        lengths = np.full(ring.slots, lib.BENCH_SLOT_BYTES, np.uint64)
        for _ in range(2):
            meter.snapshot()
            meter.clear()
            for first in range(0, connections, ring.slots):
                ring.fill(np.arange(first, min(first + ring.slots, connections)))
                meter.update_batch(data, starts, lengths)

        def count() -> float:
            begin = lib.bench_cpu_ns()
            for call in range(calls):
                part = slice(call * per_call, (call + 1) * per_call)
                meter.update_batch(data, starts[part], lengths[part])
            return float((lib.bench_cpu_ns() - begin) / (calls * per_call))

        def prepare(number: int) -> None:
            ring.fill_uniform(SEED + number)
            ring.chill()

        floor = flooring(ring, lines, calls * per_call)
        Turns(benchmark, count, timed(lib.bench_floor, floor), prepare).row(
            f"Meter.update_batch, {size}, {per_call} a call", "floor", rounds=7
        )
        assert meter.unattributed.packets == 0


@VERSIONS
@pytest.mark.parametrize("size", CONNECTIONS)
def test_instructions(benchmark: Any, size: str, version: int) -> None:  # noqa: ANN401
    """Instructions a packet: the one figure that other users of the machine do not affect."""
    tool_or_skip("valgrind")
    counted: list[float] = []
    benchmark.pedantic(
        lambda: counted.append(count_instructions(version, CONNECTIONS[size])),
        rounds=1,
        iterations=1,
    )
    per_packet = counted[0]
    Row(f"instructions, {size}, IPv{version}", per_packet, "instr").save(benchmark)
