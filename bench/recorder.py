"""A pytest plugin: hands over each row as soon as it is measured, and bounds each bench.

`python -m bench` loads it into the process that runs a file, and reads from a pipe, line by line:

    {"begun": "test_uniform[1-IPv4]"}
    {"row": {...}}                                          as README.md has the members of a row
    {"without": {"bench": ..., "what": "skipped" or "failed", "why": ...}}
"""

import ctypes
import json
import os
import signal
import time
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest

from bench.machine import steal_s

PIPE = "NETLOG_BENCH_PIPE"
"""The descriptor that the lines go to."""
BENCH_BOUND_S = 300
"""No bench takes longer, whatever happens; building what it measures against is part of it."""
WHY_CHARACTERS = 300


PR_SET_PDEATHSIG = 1


def pytest_configure() -> None:
    """End with whoever runs this file, also where that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _tell(**what: Any) -> None:  # noqa: ANN401 - JSON
    line = json.dumps(what, separators=(",", ":")) + "\n"
    with os.fdopen(int(os.environ[PIPE]), "w", closefd=False) as pipe:
        pipe.write(line)


def _why(report: pytest.TestReport) -> str:
    """The first line of what a bench said when it gave up."""
    if isinstance(report.longrepr, tuple):
        said = str(report.longrepr[2]).removeprefix("Skipped: ")
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash else str(report.longrepr)
    return (said.strip().splitlines() or [""])[0][:WHY_CHARACTERS]


def _late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"it took more than {BENCH_BOUND_S} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Say that a bench begins; interrupt one that hangs."""
    _tell(begun=item.name)
    item.stash[BEGUN] = (time.monotonic(), steal_s())
    previous = signal.signal(signal.SIGALRM, _late)
    signal.alarm(BENCH_BOUND_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


BEGUN = pytest.StashKey[tuple[float, float]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand over what came of a bench: one that failed after it measured has no row."""
    report = yield
    if report.skipped or report.failed:
        what = "skipped" if report.skipped else "failed"
        _tell(without={"bench": item.name, "what": what, "why": _why(report)})
    elif call.when == "call":
        _tell_row(item)
    return report


def _tell_row(item: pytest.Item) -> None:
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    info = fixtures["benchmark"].extra_info if "benchmark" in fixtures else {}
    if "row" not in info:
        _tell(without={"bench": item.name, "what": "failed", "why": "it has saved no row"})
        return
    begun_s, stolen_s = item.stash[BEGUN]
    _tell(
        row={
            "bench": item.name,
            **info,
            "seconds": round(time.monotonic() - begun_s, 1),
            "steal_seconds": round(steal_s() - stolen_s, 2),
        }
    )
