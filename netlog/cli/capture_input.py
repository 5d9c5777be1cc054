"""The input of `netlog read`: a capture, read to its end or until the user stops it."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from io import FileIO

from netlog.capture import CaptureError
from netlog.cli.waiting import StopRequest, ready

__all__ = ["STDIN", "CaptureInput", "open_source"]

STDIN = "-"

GRACE_S = 1.0
"""How long to continue reading after a signal. In a pipe, the Ctrl-C that stops netlog also stops
the tcpdump before it, which then writes the packets that it still has in its buffer."""


class CaptureInput:
    """A file or a pipe, as `CaptureReader.read` takes it.

    Args:
        file: the open file; unbuffered.
        stop: ends the reading. A regular file ends immediately. A live input, such as a pipe, ends
            when its writer closes it, or `GRACE_S` after the signal.

    Thread safety: the main thread only.
    """

    def __init__(self, file: FileIO, stop: StopRequest) -> None:
        self._file = file
        self._fd = file.fileno()
        self._stop = stop
        self._deadline_s: float | None = None
        self.live = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        self.stopped = False

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into `buffer`, and return the number of bytes; 0 at the end or after a stop."""
        if not self._wait():
            self.stopped = True
            return 0
        return self._file.readinto(buffer)

    def _wait(self) -> bool:
        """Wait until there is input or the end of it; False: the user has stopped the reading."""
        if not self.live:
            return not self._stop.requested
        there = False
        while not there and not self._stop.requested:
            # Wait here, not in read(2): Python resumes an interrupted read (PEP 475).
            there = self._fd in ready([self._fd, self._stop.fileno()])
        if not self._stop.requested:
            return True
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + GRACE_S
        left_s = self._deadline_s - time.monotonic()
        return left_s > 0 and bool(ready([self._fd], left_s))


@contextlib.contextmanager
def open_source(name: str, stop: StopRequest) -> Iterator[CaptureInput]:
    """Open a capture.

    Args:
        name: a path; - is standard input.
        stop: see `CaptureInput`.

    Raises:
        CaptureError: the capture cannot be opened.
    """
    # Use the descriptor of standard input, because sys.stdin would keep bytes in its buffer.
    file = sys.stdin.fileno() if name == STDIN else name
    try:
        opened = FileIO(file, closefd=name != STDIN)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from error
    with opened:
        yield CaptureInput(opened, stop)
