"""Counting is at least ten times faster than the table of the system that netlog follows.

That table is `tailscale.com/net/connstats` of v1.34, a Go map under a mutex, compiled from its own
source by the Go tool: bench/seed. Both count the same packets, which a checksum shows, out of a
ring that the same process has just written: one of 1 M packets, and, where the table itself is so
small that the ring is most of what is measured, also one that fits into the second-level cache.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.bench_count import SIZES, VERSIONS, timed
from bench.harness import Budget, Turns, tool_or_skip
from bench.native import BENCH, RESULTS, lib
from bench.packets import SEED, Meter, Ring, counting

BUILD_TIMEOUT_S = 240

# 1 MiB of headers; counted over and over.
CACHED_SLOTS = 1 << 14
CACHED_PASSES = 32


@pytest.fixture(scope="module")
def program() -> Path:
    """The compiled Go program; its modules come by the Go tool's own ways."""
    go = tool_or_skip("go")
    target = RESULTS / "seed"
    RESULTS.mkdir(exist_ok=True)
    try:
        build = subprocess.run(
            [go, "build", "-o", target, "."],
            cwd=BENCH / "seed",
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"go build of bench/seed took more than {BUILD_TIMEOUT_S} s")
    if build.returncode:
        pytest.skip(f"go build of bench/seed: {build.stderr.strip().splitlines()[-1]}")
    return target


class Seed:
    """The program while it runs; it counts a ring each time it is asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until it has met every connection."""
        self._process = process
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def count(self, seed: int) -> dict[str, Any]:
        """Make and count the ring of this seed: its checksum, packets, and CPU ns."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        return self._answer()


@contextmanager
def running(program: Path, ring: Ring, passes: int) -> Iterator[Seed]:
    """Start the program for a ring like this one, and end it."""
    numbers = (ring.version, ring.connections, ring.slots, passes)
    with subprocess.Popen(
        [str(program), *map(str, numbers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Seed(process)
        finally:
            process.kill()


def compare(benchmark: Any, program: Path, ring: Ring, passes: int, name: str) -> None:  # noqa: ANN401
    """Ten times the seed's table, or more."""
    with running(program, ring, passes) as seed, Meter(ring.connections) as meter:
        meter.warm(ring)
        checksums: list[str] = []

        def theirs() -> float:
            answer = seed.count(SEED + len(checksums))
            checksums.append(answer["checksum"])
            return float(answer["ns"] / answer["packets"])

        Turns(
            benchmark,
            timed(lib.bench_count, counting(ring, meter.lanes[0], passes * ring.slots)),
            theirs,
            lambda number: ring.fill_uniform(SEED + number),
        ).row(name, "Go map", Budget(">=", 10.0), inverse=True, rounds=5)
        ring.fill_uniform(SEED)
        assert ring.checksum() == checksums[0]


@VERSIONS
@pytest.mark.parametrize("size", SIZES)
def test_seed(benchmark: Any, program: Path, size: str, version: int) -> None:  # noqa: ANN401
    """At every size."""
    with Ring(SIZES[size], version) as ring:
        compare(benchmark, program, ring, 1, f"against the seed's table, {size}, IPv{version}")


@VERSIONS
@pytest.mark.parametrize("size", ["1", "1 k"])
def test_cached_ring(benchmark: Any, program: Path, size: str, version: int) -> None:  # noqa: ANN401
    """Table against table: headers in the cache."""
    with Ring(SIZES[size], version, CACHED_SLOTS) as ring:
        name = f"against the seed's table, {size}, IPv{version}, cached ring"
        compare(benchmark, program, ring, CACHED_PASSES, name)
