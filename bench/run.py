"""Runs files of benches one after the other, and gathers what they measured.

A bench that fails or hangs loses its own row and nothing else. README.md beside this file describes
the document.
"""

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import BENCH, RESULTS, SEED
from bench.child import FILE_BOUND_S, run_file
from bench.machine import Load, Usage, describe, versions
from bench.table import line_of

__all__ = ["Plan", "files_of", "run"]

SCHEMA = 2
BOUND_S = {"bench": 1500.0, "curve": 1800.0}
"""A whole run is ended after this time: twice what it needs on a quiet machine."""


def files_of(kind: str, folder: Path = BENCH) -> dict[str, Path]:
    """Return the files of a kind of run, `bench` or `curve`, by their names without the kind."""
    found = sorted(folder.glob(f"{kind}_*.py"))
    return {path.stem.removeprefix(f"{kind}_"): path for path in found}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    kind: str  # bench or curve
    names: tuple[str, ...] = ()  # keys of files_of(); empty: all
    only: str = ""  # an expression for pytest's -k
    quick: bool = False  # two rounds of each, to see whether it works
    folder: Path = BENCH
    logs: Path = RESULTS / "log"

    @property
    def files(self) -> list[Path]:
        """The files, in order."""
        known = files_of(self.kind, self.folder)
        return [known[name] for name in self.names or known]

    @property
    def command(self) -> str:
        """The command line for this plan."""
        options = [
            *(["--curve"] if self.kind == "curve" else []),
            *(["--quick"] if self.quick else []),
            *(["-k", repr(self.only)] if self.only else []),
        ]
        return " ".join(["python -m bench", *options, *self.names])


@dataclass(slots=True)
class _Gathered:
    """What has been measured so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    without: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    ended: str = ""


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _run_one(plan: Plan, path: Path, left_s: float, gathered: _Gathered) -> None:
    """Run one file, and keep everything that it reports at once."""
    begun, before = Usage.now(), len(gathered.rows)
    running = path.stem

    def told(line: dict[str, Any]) -> None:
        nonlocal running
        running = line.get("begun", running)
        if "row" in line:
            gathered.rows.append({"file": path.stem, **line["row"]})
            _say(f"    {line_of(gathered.rows[-1])}")
        elif "without" in line:
            gathered.without.append({"file": path.stem, **line["without"]})
            _say("    {bench}: {what}: {why}".format(**line["without"]))

    bound_s = min(left_s, FILE_BOUND_S)
    settings = {"command": plan.command, "only": plan.only, "quick": "1" if plan.quick else ""}
    try:
        if wrong := run_file(path, plan.logs / f"{path.stem}.log", settings, bound_s, told):
            missing = {"file": path.stem, "bench": running, "what": "failed", "why": wrong}
            gathered.without.append(missing)
            _say(f"    {running}: failed: {wrong}")
    finally:
        rows = len(gathered.rows) - before
        cores = Usage.now().cores_since(begun)
        gathered.files.append({"file": path.stem, "rows": rows, **cores})


def _run_all(plan: Plan, gathered: _Gathered, keep: Callable[[], None]) -> None:
    """Run all files, until they are done, the time is up, or the user interrupts."""
    begun_s = time.monotonic()
    files = plan.files
    for number, path in enumerate(files):
        spent_s = time.monotonic() - begun_s
        if spent_s >= BOUND_S[plan.kind]:
            gathered.not_run = [file.stem for file in files[number:]]
            gathered.ended = f"the run reached its limit of {BOUND_S[plan.kind]:.0f} s"
            break
        _say(f"[{number + 1}/{len(files)}, after {spent_s:.0f} s] {path.stem}")
        try:
            _run_one(plan, path, BOUND_S[plan.kind] - spent_s, gathered)
        except KeyboardInterrupt:
            gathered.not_run = [f"the rest of {path.stem}", *(p.stem for p in files[number + 1 :])]
            gathered.ended = "the run was interrupted"
            break
        keep()


def run(plan: Plan, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the plan.

    Args:
        plan: what to run.
        keep: called with the document so far after each file.

    Returns:
        The document; README.md describes its members.
    """
    plan.logs.mkdir(parents=True, exist_ok=True)
    gathered = _Gathered()
    head = {
        "schema": SCHEMA,
        "kind": plan.kind,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": plan.command,
        "quick": plan.quick,
        "seed": SEED,
        "machine": describe(),
        "versions": versions(),
    }
    with Load() as load:

        def document() -> dict[str, Any]:
            return {
                **head,
                "load": load.summary(),
                "ended": gathered.ended,
                "not_run": gathered.not_run,
                "files": gathered.files,
                "rows": gathered.rows,
                "without": gathered.without,
            }

        _run_all(plan, gathered, lambda: keep(document()))
        return document()
