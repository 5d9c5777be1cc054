"""Other projects' hash tables: a program each, which counts a ring on request.

The protocol is that of tables/drive.h and goring/. A program makes the same packets as a Ring of
the same seed; a checksum proves it.
"""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from bench import BENCH, RESULTS, SEED
from bench.harness import Budget, Turns, tool_or_skip
from bench.native import lib
from bench.packets import Meter, Ring, counting
from bench.peers import skip
from netlog._build import INCLUDES, ROOT

GO_BUILD_TIMEOUT_S = 240
BUILD_TIMEOUT_S = 120
COMPARED_ROUNDS = 9
"""Enough that a disturbance of single rounds does not move the median. A longer one moves the ratio
in any case."""
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The meter's tables are on huge pages. This gives the same to the other tables' malloc."""


def _built(command: list[str], target: Path, folder: Path, timeout_s: int) -> Path:
    """Run a build. If it fails or takes too long, skip the bench and give the error."""
    RESULTS.mkdir(exist_ok=True)
    try:
        build = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"building {target.name} took more than {timeout_s} s")
    if build.returncode:
        said = [line for line in build.stderr.splitlines() if "error" in line or ": " in line]
        pytest.skip(f"building {target.name}: {(said or ['failed'])[0].strip()}")
    return target


def go_program(name: str) -> Path:
    """Build the Go program of a folder of bench/. The Go tool gets its modules."""
    target = RESULTS / name
    command = [tool_or_skip("go"), "build", "-o", str(target), "."]
    return _built(command, target, BENCH / name, GO_BUILD_TIMEOUT_S)


@functools.cache
def table_program(
    source: str, package: str, *options: str, libraries: tuple[str, ...] = ()
) -> Path:
    """Build a program of bench/tables with the library of a pkg-config package.

    Args:
        source: its file name there.
        package: pkg-config's name for the library; without it the bench is skipped.
        options: for the compiler.
        libraries: options for the linker, instead of all that the package names.

    Returns:
        The path of the executable.
    """
    config = tool_or_skip("pkg-config")

    def ask(what: str) -> list[str]:
        said = subprocess.run([config, what, package], capture_output=True, text=True, check=False)
        if said.returncode:
            skip(package)
        return said.stdout.split()

    flags, linked = ask("--cflags"), list(libraries) or ask("--libs")
    drive = [BENCH / "tables" / "drive.c", BENCH / "ring.c", BENCH / "floor.c"]
    objects = [str(RESULTS / f"drive_{path.stem}.o") for path in drive]
    common = ["-O3", "-march=native", f"-I{BENCH}", *(f"-I{ROOT / folder}" for folder in INCLUDES)]
    for path, made in zip(drive, objects, strict=True):
        command = [tool_or_skip("gcc"), *common, "-c", str(path), "-o", made]
        _built(command, Path(made), BENCH, BUILD_TIMEOUT_S)
    target = RESULTS / "-".join([Path(source).stem, *(option.strip("-") for option in options)])
    compiler = ["g++", "-std=c++17"] if source.endswith(".cc") else ["gcc"]
    command = [
        *(tool_or_skip(compiler[0]), *compiler[1:], *options, *common, *flags),
        *(str(BENCH / "tables" / source), *objects, "-o", str(target), *linked, "-lpthread"),
    ]
    return _built(command, target, BENCH, BUILD_TIMEOUT_S)


class Driven:
    """A running program, which counts a ring each time it is asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until it has counted every connection once."""
        self._process = process
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self._process.args!r}: exit status {self._process.wait(10)}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def count(self, ring: int | str) -> dict[str, Any]:
        """Make and count the ring of a seed or `new FIRST`: its checksum, packets and CPU ns."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{ring}\n")
        self._process.stdin.flush()
        return self._answer()

    @classmethod
    @contextmanager
    def running(cls, program: Path, ring: Ring, passes: int) -> Iterator[Self]:
        """Start a program for a ring like this one, and end it afterwards."""
        numbers = (ring.version, ring.connections, ring.slots, passes)
        with subprocess.Popen(
            [str(program), *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | HUGE_PAGES,
            text=True,
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()


def compare(  # noqa: PLR0913 - a row's parameters
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark has no types
    program: Path,
    ring: Ring,
    *,
    passes: int = 1,
    name: str,
    beside_name: str,
    budget: Budget | None,
    prepare: Callable[[Ring], None] = lambda _ring: None,
    rounds: int = COMPARED_ROUNDS,
) -> None:
    """Measure one row: another table's time for a packet, over netlog's.

    Args:
        benchmark: pytest-benchmark's fixture.
        program: with the other table.
        ring: has the connections and the packets that both count.
        passes: how often they count it in a round.
        name: of the row.
        beside_name: the other table's.
        budget: on the ratio, theirs over ours.
        prepare: prepares our ring further before each round.
        rounds: number of rounds.
    """
    with Driven.running(program, ring, passes) as driven, Meter(ring.connections) as meter:
        meter.warm(ring)
        checksums: list[str] = []
        ours = counting(ring, meter.lanes[0], passes * ring.slots)

        def theirs() -> float:
            answer = driven.count(SEED + len(checksums))
            checksums.append(answer["checksum"])
            return float(answer["ns"] / answer["packets"])

        def measured() -> float:
            lib.bench_count(ours)
            return float(ours.cpu_ns / ours.packets)

        def fill(number: int) -> None:
            ring.fill_uniform(SEED + number)
            prepare(ring)

        Turns(benchmark, measured, theirs, fill).row(
            name, beside_name, budget, inverse=True, rounds=rounds
        )
        ring.fill_uniform(SEED)
        assert ring.checksum() == checksums[0]


def compare_all_new(  # noqa: PLR0913 - a row's parameters
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark has no types
    program: Path,
    ring: Ring,
    *,
    name: str,
    beside_name: str,
    budget: Budget | None,
    rounds: int = 5,
) -> None:
    """Measure one row of new connections: each comes once, to tables that were emptied.

    A round is a ring of connections that no earlier round had. It has several periods, each with as
    many packets as the ring has connections. Neither side is timed while it empties or drains its
    table, but the time that a table takes to grow again counts.

    Args:
        benchmark: pytest-benchmark's fixture.
        program: with the other table.
        ring: its slots are a multiple of its connections.
        name: of the row.
        beside_name: the other table's.
        budget: on the ratio, theirs over ours.
        rounds: number of rounds.
    """
    periods = ring.slots // ring.connections
    with Driven.running(program, ring, 1) as driven, Meter(ring.connections) as meter:
        meter.warm(ring)
        checksums: list[str] = []
        parts = [counting(ring, meter.lanes[0]) for _ in range(periods)]
        for number, part in enumerate(parts):
            part.ring = ring.data + number * ring.connections * int(lib.BENCH_SLOT_BYTES)
            part.slots = part.packets = ring.connections

        def theirs() -> float:
            answer = driven.count(f"new {len(checksums) * ring.slots}")
            checksums.append(answer["checksum"])
            return float(answer["ns"] / answer["packets"])

        def measured() -> float:
            for part in parts:
                meter.swap()
                lib.bench_count(part)
            return float(sum(part.cpu_ns for part in parts) / ring.slots)

        def fill(number: int) -> None:
            ring.fill(np.arange(number * ring.slots, (number + 1) * ring.slots))

        Turns(benchmark, measured, theirs, fill).row(
            name, beside_name, budget, inverse=True, rounds=rounds
        )
        assert meter.rows() == ring.connections
        fill(0)
        assert ring.checksum() == checksums[0]
