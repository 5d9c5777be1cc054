"""A progress bar on standard error, for reading that takes long."""

import contextlib
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from netlog._closing import Closing

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ReadingBar"]

STDIN = "-"
DELAY_S = 1.0
"""A bar is shown only for reading that takes longer."""
REFRESH_S = 0.1


class ReadingBar(Closing):
    """Shows how much of some files was read.

    There is a bar only if standard error is a terminal, all files are regular, and nobody writes to
    a terminal meanwhile: neither this process, nor one that reads its output from a pipe.

    Args:
        paths: the files, in the order in which they are read.
        output_at_end: whether nothing is written to standard output before all files are read.

    Thread safety: the main thread only.
    """

    def __init__(self, paths: Sequence[str], *, output_at_end: bool = False) -> None:
        self._total_bytes = _total_bytes(paths) if _is_alone(output_at_end=output_at_end) else 0
        self._read_bytes = 0
        self._next_s = time.monotonic() + DELAY_S
        self._shown: tuple[Progress, TaskID] | None = None
        self._old_handler: Any = None

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the chunks of a file on, and count them."""
        for chunk in chunks:
            yield chunk
            self.advance(len(chunk))

    def advance(self, n_bytes: int) -> None:
        """Count bytes that were read; draw the bar when it is time to."""
        self._read_bytes += n_bytes
        if not self._total_bytes or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + REFRESH_S
        if self._shown is None:
            self._shown = self._begin()
            # Not before: an interrupt between the two would find no bar to erase.
            self._shown[0].start()
        bar, task = self._shown
        bar.update(task, completed=self._read_bytes)
        bar.refresh()

    def close(self) -> None:
        """Erase the bar. A second call does nothing."""
        if self._shown is None:
            return
        self._shown[0].stop()
        self._shown = None
        self._total_bytes = 0
        if self._old_handler is not None:
            signal.signal(signal.SIGINT, self._old_handler)

    def _begin(self) -> "tuple[Progress, TaskID]":
        from netlog.display.bar import reading_bar  # noqa: PLC0415 - rich takes 40 ms

        # Ctrl-C must not end the process before the bar is erased.
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            self._old_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        return reading_bar(self._total_bytes)


def _is_alone(*, output_at_end: bool) -> bool:
    """Whether the terminal on standard error is free for a bar."""
    if not sys.stderr.isatty() or sys.stdout is None:
        return False
    if sys.stdout.isatty():
        return output_at_end
    with contextlib.suppress(OSError):
        return not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    return False


def _total_bytes(paths: Iterable[str]) -> int:
    """The size of all files; 0 if one of them has no size, or does not exist."""
    total = 0
    for path in paths:
        try:
            # Standard input may be a file, too.
            status = os.fstat(0) if path == STDIN else os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            return 0
        if not stat.S_ISREG(status.st_mode):
            return 0
        total += status.st_size
    return total
