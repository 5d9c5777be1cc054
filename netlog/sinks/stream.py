"""Messages as JSON lines on an open descriptor, such as standard output."""

import errno
import os
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["StreamSink"]


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class StreamSink:
    """Writes each message as a line to a descriptor that the caller owns.

    Nothing is buffered: when `write` returns, the kernel has the whole line. If an error cuts a
    line short, the part cannot be taken back from a pipe or a terminal. The next line then begins
    with a line break, so that a reader loses only the incomplete line.

    Args:
        stream: a descriptor, or an object with `fileno()`. The caller flushes the object's own
            buffer first. The descriptor stays open.

    Thread safety: any thread; lines of different threads do not mix.
    """

    def __init__(self, stream: "int | _HasFileno") -> None:
        self._fd = stream if isinstance(stream, int) else stream.fileno()
        self._cut = False
        self._abandoned = False
        self._lock = threading.Lock()

    @property
    def abandoned(self) -> bool:
        """Whether the other end was closed, so that nobody will read any more."""
        return self._abandoned

    def write(self, message: "Message") -> None:
        """Write one line. Waits while a pipe is full.

        Args:
            message: what to write.

        Raises:
            BrokenPipeError: the reader has closed its end.
            OSError: writing failed; part of the line may have been written.
        """
        self.write_line(message.to_json())

    def write_line(self, line: bytes) -> None:
        """Write one line. Waits while a pipe is full.

        Args:
            line: without its line break.

        Raises:
            BrokenPipeError, OSError: as `write`.
        """
        with self._lock:
            self._write((b"\n" if self._cut else b"") + line + b"\n")

    def _write(self, line: bytes) -> None:
        data = memoryview(line)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            # EIO: the terminal has hung up.
            self._abandoned |= error.errno in (errno.EPIPE, errno.EIO)
            raise
        finally:
            if written:
                self._cut = written < len(data)

    def close(self) -> None:
        """Do nothing: the caller owns the descriptor."""
