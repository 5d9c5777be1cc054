"""A pytest plugin: reports each row as soon as it is measured, and limits each bench's time.

`python -m bench` loads it into the process that runs a file, and reads from a pipe, line by line:

    {"begun": "test_uniform[1-IPv4]"}
    {"row": {...}}                                          README.md has the members of a row
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
"""The environment variable with the number of the pipe's descriptor."""
BENCH_BOUND_S = 300
"""A bench is ended after this time, which includes building the peer that it measures against."""
WHY_CHARACTERS = 300


PR_SET_PDEATHSIG = 1


def pytest_configure() -> None:
    """End this process when its parent ends, even if the parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _tell(**what: Any) -> None:  # noqa: ANN401 - JSON
    line = json.dumps(what, separators=(",", ":")) + "\n"
    with os.fdopen(int(os.environ[PIPE]), "w", closefd=False) as pipe:
        pipe.write(line)


def _why(report: pytest.TestReport) -> str:
    """Return the first line of a bench's error."""
    if isinstance(report.longrepr, tuple):
        said = str(report.longrepr[2]).removeprefix("Skipped: ")
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash else str(report.longrepr)
    return (said.strip().splitlines() or [""])[0][:WHY_CHARACTERS]


def _late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"took more than {BENCH_BOUND_S} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Report that a bench begins; interrupt it if it hangs."""
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
    """Report the result of a bench. A bench that failed after it measured has no row."""
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
