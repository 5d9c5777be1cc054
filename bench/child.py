"""One file of benches in a process of its own; its reports are read as they come."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import BENCH
from bench.harness import COMMAND, QUICK
from bench.peers import PATH
from bench.recorder import PIPE

__all__ = ["FILE_BOUND_S", "run_file"]

FILE_BOUND_S = 600.0
"""A file is ended after this time; recorder.py has the bound for each of its benches."""
END_S = 20.0
LINE_BYTES = 4 << 20
"""A longer line is not a row: the longest rows have some hundred rounds."""
CHUNK_BYTES = 1 << 16
STATUS = {0, 1, 5}
"""Exit statuses of pytest: all passed; some failed, and were reported; there were no benches."""

Told = Callable[[dict[str, Any]], None]


def _short(path: Path) -> Path:
    """Return a path from the root of the sources, if it is there: documents are passed on."""
    root = BENCH.parent
    return path.relative_to(root) if path.is_relative_to(root) else path


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a file that is still running, after giving it time to clean up."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
    finally:  # also if this is interrupted again
        process.kill()
        process.wait()


def _read(pipe: int, deadline_s: float, told: Told) -> str:
    """Pass on every line until the pipe ends; return an empty string, or what went wrong."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not selector.select(left_s):
                break
            chunk = os.read(pipe, CHUNK_BYTES)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                told(json.loads(line))
            if not chunk:
                return ""
            if len(rest) > LINE_BYTES:
                return f"a row is longer than {LINE_BYTES} bytes"
    return "not finished in time"


def run_file(path: Path, log: Path, settings: dict[str, str], timeout_s: float, told: Told) -> str:
    """Run a file to its end.

    Args:
        path: the file.
        log: file for pytest's output.
        settings: `command`, for the rows; `only`, pytest's -k; `quick`, if not empty.
        timeout_s: the file is ended after this many seconds.
        told: called with each line of recorder.py, parsed, as it comes.

    Returns:
        An empty string, or what went wrong with the file as a whole.

    Raises:
        KeyboardInterrupt: this process was interrupted; the file has ended.
    """
    deadline_s = time.monotonic() + max(timeout_s, 0.1)
    reading, writing = os.pipe()
    arguments = [
        *(sys.executable, "-m", "pytest", "-p", "bench.recorder", "-p", "no:cacheprovider"),
        *("-c", str(BENCH.parent / "pyproject.toml"), "-o", f"python_files={path.name}"),
        *("--benchmark-columns=median,rounds", "-k", settings["only"], str(path)),
    ]
    environment = os.environ | {"PATH": PATH, COMMAND: settings["command"], PIPE: str(writing)}
    if settings["quick"]:
        environment[QUICK] = "1"
    with log.open("wb") as out:
        # In a session of its own, so that Ctrl-C reaches only this process. It then interrupts the
        # file once.
        process = subprocess.Popen(
            arguments,
            cwd=BENCH.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    try:
        wrong = _read(reading, deadline_s, told)
        if not wrong and process.wait(END_S) not in STATUS:
            wrong = f"exit status {process.returncode}; see {_short(log)}"
    except subprocess.TimeoutExpired:
        wrong = f"it did not end; see {_short(log)}"
    finally:
        _end(process)
        os.close(reading)
    return wrong
