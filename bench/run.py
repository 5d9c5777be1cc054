"""Runs files of benches, each in a process of its own, and gathers what they measured.

A file that fails, hangs or dies takes its own rows with it and nothing else. The document that
comes out is described in README.md beside this file.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from bench import BENCH, SEED
from bench.harness import COMMAND
from bench.machine import Load, describe, versions

SCHEMA = 1
BOUND_S = {"bench": 1200.0, "curve": 1800.0}
"""A whole run is over after so long, whatever happens: twice what it needs on a quiet machine."""
END_S = 20.0


def files_of(kind: str) -> dict[str, Path]:
    """The files of a kind of run, `bench` or `curve`, by their names without it."""
    return {path.stem.removeprefix(f"{kind}_"): path for path in sorted(BENCH.glob(f"{kind}_*.py"))}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a file that still runs, which may first take away what it has made."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        process.kill()
    process.wait()


def _ended(process: "subprocess.Popen[bytes]", timeout_s: float) -> str:
    """Wait for a file; an empty string, or what went wrong."""
    try:
        status = process.wait(max(timeout_s, 0.1))
    except subprocess.TimeoutExpired:
        _end(process)
        return "not finished in time"
    # 0: all passed; 1: some failed, which the report says; 5: none was there.
    return "" if status in (0, 1, 5) else f"exit status {status}"


def _rows(path: Path, file: str) -> list[dict[str, Any]]:
    """What pytest-benchmark has saved."""
    if not path.exists() or not path.stat().st_size:
        return []
    rows = []
    for entry in json.loads(path.read_text())["benchmarks"]:
        info = entry["extra_info"]
        if "row" in info:
            rows.append({"file": file, "bench": entry["name"], **info})
    return rows


def _without(path: Path) -> list[dict[str, str]]:
    """Benches that have no row, and why: from pytest's report."""
    if not path.exists() or not path.stat().st_size:
        return []
    found = []
    # Written by the pytest that we started.
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314
        for kind in ("skipped", "failure", "error"):
            for reason in case.iter(kind):
                said = (reason.get("message") or "").splitlines() or [""]
                words = {"skipped": "skipped", "failure": "failed", "error": "failed"}[kind]
                found.append({"bench": case.get("name", ""), "what": words, "why": said[0][:200]})
    return found


def _run_file(path: Path, command: str, timeout_s: float) -> tuple[list[Any], list[Any]]:
    """One file: its rows, and the benches without one."""
    with tempfile.TemporaryDirectory() as folder:
        saved, report = Path(folder, "rows.json"), Path(folder, "report.xml")
        arguments = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-o", f"python_files={path.name}", "--benchmark-columns=median,rounds"),
            *(f"--benchmark-json={saved}", f"--junitxml={report}", str(path)),
        ]
        process = subprocess.Popen(
            arguments,
            cwd=BENCH.parent,
            env={**os.environ, COMMAND: command},
            stdout=sys.stderr,  # pytest's own table is of times of whole rounds
        )
        try:
            wrong = _ended(process, timeout_s)
        finally:
            _end(process)
        without = _without(report)
        if wrong:
            without.append({"bench": path.stem, "what": "failed", "why": wrong})
        return _rows(saved, path.stem), without


def run(kind: str, names: list[str]) -> dict[str, Any]:
    """Run the files of these names.

    Args:
        kind: `bench` or `curve`.
        names: as files_of() has them.

    Returns:
        The document: README.md has its members.
    """
    known = files_of(kind)
    command = " ".join(["python -m bench", *(["--curve"] if kind == "curve" else []), *names])
    deadline_s = time.monotonic() + BOUND_S[kind]
    rows: list[dict[str, Any]] = []
    without: list[dict[str, str]] = []
    date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with Load() as load:
        for name in names or known:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                why = f"the run was over after {BOUND_S[kind]:.0f} s"
                without.append({"bench": known[name].stem, "what": "failed", "why": why})
                continue
            measured, missing = _run_file(known[name], command, left_s)
            rows += measured
            without += missing
    return {
        "schema": SCHEMA,
        "kind": kind,
        "date": date,
        "command": command,
        "seed": SEED,
        "machine": describe(),
        "versions": versions(),
        "load": load.summary(),
        "rows": rows,
        "without": without,
    }
