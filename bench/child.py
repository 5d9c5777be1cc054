"""One file of benches while it runs, in a process of its own: what it tells is read as it comes."""

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
"""No file takes longer; each of its benches has a bound of its own, in recorder.py."""
END_S = 20.0
LINE_BYTES = 4 << 20
"""A line of a row that is longer is none: the longest have some hundred rounds."""
CHUNK_BYTES = 1 << 16
STATUS = {0, 1, 5}
"""All passed; some failed, which was told; there was none."""

Told = Callable[[dict[str, Any]], None]


def _short(path: Path) -> Path:
    """A path from the root of the sources, if it lies there: documents are shown around."""
    root = BENCH.parent
    return path.relative_to(root) if path.is_relative_to(root) else path


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a file that still runs, which may first take away what it has made."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
    finally:  # also where it is interrupted once more
        process.kill()
        process.wait()


def _read(pipe: int, deadline_s: float, told: Told) -> str:
    """Hand on every line until the pipe ends; an empty string, or what went wrong."""
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
                return "a row is longer than any can be"
    return "not finished in time"


def run_file(path: Path, log: Path, settings: dict[str, str], timeout_s: float, told: Told) -> str:
    """Run a file to its end.

    Args:
        path: the file.
        log: what pytest says goes there.
        settings: `command`, for the rows; `only`, pytest's -k; `quick`, if not empty.
        timeout_s: it is ended when that is over.
        told: is called with each line of recorder.py, parsed, as it comes.

    Returns:
        An empty string, or what went wrong with the file as a whole.

    Raises:
        KeyboardInterrupt: as it came; the file has ended.
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
        # In a session of its own: Ctrl-C is this process's, which then asks it once to end.
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
            wrong = f"exit status {process.returncode}, see {_short(log)}"
    except subprocess.TimeoutExpired:
        wrong = f"it did not end, see {_short(log)}"
    finally:
        _end(process)
        os.close(reading)
    return wrong
