"""The input of `netlog read`: a capture, unpacked, to its end or until the user stops it."""

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from io import FileIO

from netlog.capture import CaptureError
from netlog.cli.waiting import StopRequest, ready
from netlog.fmt.source import CHUNK_BYTES, GZIP_MAGIC, ZSTD_MAGIC, SourceError, unpack

__all__ = ["STDIN", "CaptureInput", "open_source"]

STDIN = "-"

MAGIC_BYTES = len(ZSTD_MAGIC)

GRACE_S = 1.0
"""How long to continue reading after a signal. In a pipe, the Ctrl-C that stops netlog also stops
the tcpdump before it, which then writes the packets that it still has in its buffer."""


class CaptureInput:
    """A file or a pipe, with gzip and zstd unpacked, as `CaptureReader.read` takes it.

    Args:
        file: the open file; unbuffered.
        name: what errors call it.
        stop: ends the reading. A regular file ends immediately. A live input, such as a pipe, ends
            when its writer closes it, or `GRACE_S` after the signal.
        on_read: called with the number of bytes after each read.

    Thread safety: the main thread only.
    """

    def __init__(
        self,
        file: FileIO,
        name: str,
        stop: StopRequest,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        self._file = file
        self._name = name
        self._unpacked: Iterator[bytes] | None = None  # if it is packed
        self._begun = False
        self._piece = memoryview(b"")  # unpacked, and not asked for yet
        self._fd = file.fileno()
        self._stop = stop
        self._on_read = on_read
        self._deadline_s: float | None = None
        self.live = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        self.stopped = False

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into `buffer`; 0 at the end, or if no more is wanted.

        Raises:
            CaptureError: what is packed is damaged or cut short, or nothing here unpacks zstd.
        """
        if not self._begun:
            return self._begin(buffer)
        if self._unpacked is None:
            return self._read(buffer)
        return self._unpack(self._unpacked, buffer)

    def _begin(self, buffer: memoryview) -> int:
        """Read the first bytes, which say whether the rest is packed."""
        self._begun = True
        count = 0
        while count < MAGIC_BYTES and (more := self._read(buffer[count:])):
            count += more
        begin = bytes(buffer[: min(count, MAGIC_BYTES)])
        if not begin.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
            return count
        self._unpacked = unpack(self._chunks(bytes(buffer[:count])))
        return self._unpack(self._unpacked, buffer)

    def _chunks(self, first: bytes) -> Iterator[bytes]:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        yield first
        while count := self._read(buffer):
            yield bytes(buffer[:count])

    def _unpack(self, pieces: Iterator[bytes], buffer: memoryview) -> int:
        try:
            while not self._piece:
                piece = next(pieces, None)
                if piece is None:
                    return 0
                self._piece = memoryview(piece)
        except SourceError as error:
            raise CaptureError(f"{self._name}: {error}") from None
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _read(self, buffer: memoryview) -> int:
        if not self._wait():
            self.stopped = True
            return 0
        n_bytes = self._file.readinto(buffer) or 0
        if self._on_read is not None:
            self._on_read(n_bytes)
        return n_bytes

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
def open_source(
    name: str, stop: StopRequest, on_read: Callable[[int], None] | None = None
) -> Iterator[CaptureInput]:
    """Open a capture.

    Args:
        name: a path; - is standard input.
        stop: see `CaptureInput`.
        on_read: as for `CaptureInput`.

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
        yield CaptureInput(opened, "standard input" if name == STDIN else name, stop, on_read)
