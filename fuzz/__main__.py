"""Runs all harnesses, some at a time, and prints a table: `python -m fuzz --seconds 60`.

A harness begins with its corpus, of corpus/, and with seeds that the tests' generators make. What
makes one fail is kept in build/fuzz/faults, and the command that runs it again is printed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz.seeds import write_seeds

ROOT = Path(__file__).parents[1]
HERE = ROOT / "fuzz"
BUILD = ROOT / "build" / "fuzz"
FAULTS = BUILD / "faults"
MEMORY = "/dev/shm"  # noqa: S108 - in a folder of its own
"""Where harnesses have their files: the spool syncs often."""
NO_HARNESS = {"__init__", "__main__", "answering", "commands", "scratch"}
"""Modules of parsers/ that harnesses use."""
MOST_INPUT_BYTES = 8192
MOST_CORPUS_BYTES = 20_000
ENTRY_BYTES = 150
"""Of a harness, with what an entry of the archive takes. Small inputs come first; what is left out
is found again."""
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", f"-max_len={MOST_INPUT_BYTES}")
"""No hang, and no memory without bound: of an input, in seconds and MiB."""
FIXED_DATE = (1980, 1, 1, 0, 0, 0)
"""So that the same inputs make the same file."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of a harness did; coverage in edges of its code."""

    name: str
    executions: int
    coverage: int
    edges: int
    faults: tuple[Path, ...]
    log: str


def core_harnesses() -> list[str]:
    """The names of those of the core."""
    return sorted(path.stem for path in HERE.glob("core/*.c"))


def parser_harnesses() -> list[str]:
    """The names of those of what Python parses."""
    names = {path.stem for path in HERE.glob("parsers/*.py")}
    return sorted(names - NO_HARNESS)


def write_program(name: str) -> None:
    """Write the program of a harness of parsers/, beside those that are compiled."""
    program = BUILD / name
    text = f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m fuzz.parsers {name} "$@"\n'
    program.write_text(text)
    program.chmod(0o755)


def prepare(name: str) -> Path:
    """Make the folder of inputs that a harness begins with."""
    folder = BUILD / "corpus" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packed = HERE / "corpus" / f"{name}.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
    if name in core_harnesses():
        write_seeds(name, folder)
    else:
        write_program(name)
        # In a process of its own: a harness may take over standard output.
        write = "import sys; from fuzz.seeds import write_parser_seeds as w; w(*sys.argv[1:])"
        run([sys.executable, "-c", write, name, str(folder)], check=True)
    return folder


def run(arguments: list[str], *, check: bool) -> str:
    """Run a command in the project's folder, and return what it printed."""
    environment = os.environ | {"UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run(  # noqa: S603 - a harness
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if check and done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{done.stdout}")
    return done.stdout


def last_number(pattern: str, text: str) -> int:
    """The last number that a pattern finds; 0: none."""
    found: list[str] = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def fuzz(name: str, folder: Path, seconds: float) -> Result:
    """Run a harness for a while, or until it fails."""
    began_ns = time.time_ns()
    time_limit = f"-max_total_time={max(1, round(seconds))}"
    options = [*LIMITS, time_limit, "-print_final_stats=1", f"-artifact_prefix={FAULTS}/{name}-"]
    log = run(["nice", "-n", "19", str(BUILD / name), *options, str(folder)], check=False)
    (BUILD / f"{name}.log").write_text(log)
    new = [path for path in FAULTS.glob(f"{name}-*") if path.stat().st_mtime_ns >= began_ns]
    executions = last_number(r"stat::number_of_executed_units: (\d+)", log)
    return Result(
        name,
        executions,
        last_number(r"cov: (\d+)", log),
        last_number(r"Loaded \d+ modules +\((\d+) inline 8-bit counters\)", log),
        tuple(new) if new or executions else (BUILD / f"{name}.log",),
        log,
    )


def report(results: Iterable[Result]) -> int:
    """Print the table, and how to run what failed again. Returns the number of faults."""
    results = list(results)
    print(f"{'harness':<20}{'executions':>12}{'coverage':>16}{'faults':>8}")
    for each in results:
        coverage = f"{each.coverage}" + (f" of {each.edges}" if each.edges else "")
        print(f"{each.name:<20}{each.executions:>12,}{coverage:>16}{len(each.faults):>8}")
    for each in results:
        for fault in each.faults:
            again = f"{BUILD / each.name} {fault}"
            print(f"\n{each.name}: a fault; again: {again}\n{tail(each.log)}", file=sys.stderr)
    return sum(len(each.faults) for each in results)


def tail(log: str) -> str:
    """What a harness said of a fault."""
    lines = [line for line in log.splitlines() if not line.startswith(("#", "stat::", "INFO:"))]
    return "\n".join(f"    {line}" for line in lines[-40:])


def keep(name: str, folder: Path) -> None:
    """Put a minimal set of inputs with the same coverage into the packed corpus."""
    minimal = BUILD / "minimal" / name
    shutil.rmtree(minimal, ignore_errors=True)
    minimal.mkdir(parents=True)
    run([str(BUILD / name), *LIMITS, "-merge=1", str(minimal), str(folder)], check=True)
    left = MOST_CORPUS_BYTES
    (HERE / "corpus").mkdir(exist_ok=True)
    packed = HERE / "corpus" / f"{name}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(minimal.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
            text = path.read_bytes()
            left -= len(text) + ENTRY_BYTES
            if left < 0:
                break
            archive.writestr(zipfile.ZipInfo(path.name[:16], FIXED_DATE), text)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="HARNESS", help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all harnesses together")
    parser.add_argument("--each", action="store_true", help="--seconds is for each harness")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--keep", action="store_true", help="minimise the corpus, and keep it")
    options = parser.parse_args()
    names = options.names or [*core_harnesses(), *parser_harnesses()]
    known = {*core_harnesses(), *parser_harnesses()}
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such harness: {', '.join(unknown)}")
    if any(name in core_harnesses() for name in names):
        run(["make", "-s", f"-j{options.jobs}", "-C", str(HERE)], check=True)
    FAULTS.mkdir(parents=True, exist_ok=True)
    folders = {name: prepare(name) for name in names}
    seconds = options.seconds
    if not options.each:
        seconds = seconds * min(options.jobs, len(names)) / len(names)
    with (
        tempfile.TemporaryDirectory(prefix="netlog-fuzz-", dir=MEMORY) as scratch,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        os.environ["TMPDIR"] = scratch
        results = pool.map(lambda name: fuzz(name, folders[name], seconds), names)
        faults = report(results)
        if options.keep and not faults:
            list(pool.map(lambda name: keep(name, folders[name]), names))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
