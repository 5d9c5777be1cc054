"""`netlog exec`: its counters, at the end and when it is asked."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.support import ROOT
from tests.support.namespace import wait_for

TELLS = """
import pathlib, signal, sys
got = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGCONT, lambda *_: got.write_text("CONT"))
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextlib.contextmanager
def metered(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command under `netlog exec`, which is ready; its standard error is a file."""
    output = str(folder / "flows.jsonl")
    command = [sys.executable, "-m", "netlog", "exec", "--output", output, "--"]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*command, sys.executable, "-c", TELLS, str(folder / "got")],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def has_answered(stderr: Path, times: int) -> bool:
    """Whether the counters were printed so often."""
    return stderr.read_text().count("flows.jsonl: ") == times


def test_it_is_asked_without_disturbing_the_command(tmp_path: Path) -> None:
    """SIGCONT is for netlog alone; SIGUSR1 is the command's; the counters come at the end too."""
    stderr = tmp_path / "stderr"
    with metered(tmp_path) as process:
        for times in (1, 2):
            process.send_signal(signal.SIGCONT)
            wait_for(partial(has_answered, stderr, times), "it answered")
        assert "netlog: metered: " in stderr.read_text()
        assert not (tmp_path / "got").exists()
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == 7
        assert stderr.read_text().count("flows.jsonl: 0 messages written, 0 dropped\n") == 3
