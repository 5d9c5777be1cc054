"""The progress bar of long reading: where there is one, and what it leaves on the terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = next(path for path in Path(__file__).parents if (path / "csrc").is_dir())
N_MESSAGES = 3000
MESSAGE = {
    "nodeId": "n1",
    "start": "2024-02-29T00:00:00Z",
    "end": "2024-02-29T00:00:05Z",
    "virtualTraffic": [{"proto": 6, "src": "100.64.0.1:1", "dst": "100.64.0.2:2", "txPkts": 1}],
}
AT_ONCE = """
import sys
import netlog.cli.progress as progress
progress.DELAY_S = progress.REFRESH_S = {delay_s}
from netlog_command import main
sys.argv[1:] = {arguments!r}
status = main()
print("rich" in sys.modules, file=open("rich", "w"))
sys.exit(status)
"""
ERASED = "\r\x1b[1A\x1b[2K"
"""What erases a line that was written last: its begin, one line up, and nothing there any more."""
HIDDEN = "\x1b[?25l"


class Run:
    """A command with a terminal as its standard error.

    Args:
        folder: its working directory.
        arguments: those of netlog.
        stdout: what subprocess takes; None: the terminal, too.
        delay_s: after which there is a bar.
    """

    def __init__(
        self, folder: Path, *arguments: str, stdout: object = None, delay_s: float = 0
    ) -> None:
        here, there = pty.openpty()
        self._terminal = os.fdopen(here, "rb", buffering=0)
        self._said = b""
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_ONCE.format(arguments=list(arguments), delay_s=delay_s)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
            stdin=subprocess.DEVNULL,
            stdout=there if stdout is None else stdout,  # type: ignore[call-overload] # an int or a file
            stderr=there,
        )
        os.close(there)
        self._reader.start()

    def _listen(self) -> None:
        try:
            while data := self._terminal.read(65536):
                self._said += data
        except OSError:  # how a terminal ends that nobody has open
            pass

    @property
    def said(self) -> str:
        """What the terminal was given."""
        return self._said.decode()

    def wait_for(self, there: Callable[[str], bool]) -> None:
        """Wait until the terminal was given something."""
        deadline_s = time.monotonic() + 60
        while not there(self.said):
            assert time.monotonic() < deadline_s, self.said
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, bool]:
        """Wait for the end: status, what the terminal was given, whether rich was loaded."""
        try:
            status = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join(60)
        self._terminal.close()
        loaded = self._folder / "rich"
        return status, self.said, loaded.exists() and loaded.read_text() == "True\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a log of many messages."""
    line = json.dumps(MESSAGE, separators=(",", ":")) + "\n"
    (tmp_path / "flows.jsonl").write_text(line * N_MESSAGES)
    return tmp_path


def test_a_bar_is_there_and_goes(folder: Path) -> None:
    """While messages go to a file; the cursor is never hidden, and the bar is erased at the end."""
    with (folder / "out").open("wb") as out:
        status, said, loaded = Run(folder, "fmt", "--json", "flows.jsonl", stdout=out).end()
    assert (status, loaded) == (0, True)
    assert "reading" in said
    assert "100 %" in said
    assert said.endswith(ERASED)
    assert HIDDEN not in said
    assert (folder / "out").read_text().count("\n") == N_MESSAGES


def test_lines_stay_above_the_bar(folder: Path) -> None:
    """What is reported meanwhile is not erased with it."""
    with (folder / "flows.jsonl").open("a") as file:
        file.write("garbage\n")
    with (folder / "out").open("wb") as out:
        status, said, _ = Run(folder, "fmt", "--csv", "flows.jsonl", stdout=out).end()
    assert status == 1
    assert "netlog: flows.jsonl: byte " in said
    assert said.endswith(ERASED)


def test_a_total_has_a_bar_before_its_table(folder: Path) -> None:
    """Both are on the terminal: the bar is erased before the table begins."""
    status, said, loaded = Run(folder, "fmt", "--total", "flows.jsonl").end()
    assert (status, loaded) == (0, True)
    bar, erased, table = said.rpartition(ERASED)
    assert erased
    assert "reading" in bar
    assert "100.64.0.2:2" in table
    assert "reading" not in table


@pytest.mark.parametrize(
    ("arguments", "piped"),
    [
        pytest.param(("fmt", "flows.jsonl"), False, id="messages on the terminal"),
        pytest.param(("fmt", "--total", "flows.jsonl"), True, id="a pipe"),
        pytest.param(("fmt", "flows.jsonl", "/dev/null"), True, id="no size"),
    ],
)
def test_there_is_no_bar(folder: Path, arguments: tuple[str, ...], *, piped: bool) -> None:
    """Where something else is on the terminal, or may be: rich is not even loaded."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        _, said, loaded = Run(folder, *arguments, stdout=reader.stdin if piped else None).end()
    assert "reading" not in said
    assert not loaded


def test_short_reading_has_no_bar(folder: Path) -> None:
    """What takes less than the delay loads nothing."""
    with (folder / "out").open("wb") as out:
        status, said, loaded = Run(folder, "fmt", "flows.jsonl", stdout=out, delay_s=60).end()
    assert (status, said, loaded) == (0, "", False)


def test_ctrl_c_leaves_a_clean_terminal(folder: Path) -> None:
    """The bar is erased, and the status is that of an interrupted command."""
    line = (folder / "flows.jsonl").read_text()
    (folder / "flows.jsonl").write_text(line * 60)
    with (folder / "out").open("wb") as out:
        run = Run(folder, "fmt", "--json", "flows.jsonl", stdout=out)
        run.wait_for(lambda said: "reading" in said)
        run.signal(signal.SIGINT)
        status, said, _ = run.end()
    assert status == 130
    assert said.endswith(ERASED)
    assert "Traceback" not in said


def test_a_capture_has_a_bar(folder: Path) -> None:
    """`netlog read` into a file; what is reported at the end comes after it."""
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")  # pcap, raw IP
    packet = bytes.fromhex("45000014000000004001000064400001644000 02".replace(" ", ""))
    record = bytes.fromhex("00000000000000001400000014000000") + packet
    broken = record[:16] + b"\xff" + packet[1:]
    (folder / "a.pcap").write_bytes(header + record * 50_000 + broken)
    with (folder / "out").open("wb") as out:
        status, said, loaded = Run(folder, "read", "a.pcap", stdout=out).end()
    assert (status, loaded) == (0, True)
    bar, erased, report = said.rpartition(ERASED)
    assert erased
    assert "reading" in bar
    assert "reading" not in report
    assert json.loads((folder / "out").read_text().splitlines()[0])
