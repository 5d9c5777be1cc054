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
    """Writes each message as a line to a descriptor that somebody else owns.

    Nothing is buffered: when `write` returns, the kernel has the whole line. A line that was cut
    short by an error can not be taken back from a pipe or a terminal; the next one then begins with
    a line break, so that a reader loses the cut line only.

    Args:
        stream: a descriptor, or an object with `fileno()`. What the object itself has buffered must
            be flushed before. It stays open.

    Thread safety: any thread; a line is written as a whole before the next.
    """

    def __init__(self, stream: "int | _HasFileno") -> None:
        self._fd = stream if isinstance(stream, int) else stream.fileno()
        self._cut = False
        self._abandoned = False
        self._lock = threading.Lock()

    @property
    def abandoned(self) -> bool:
        """Whether the other end was closed: there will never be a reader again."""
        return self._abandoned

    def write(self, message: "Message") -> None:
        """Write one line; waits while a pipe is full.

        Args:
            message: what to write.

        Raises:
            BrokenPipeError: nobody reads any more.
            OSError: the descriptor takes no more; the line may be there in part.
        """
        self.write_line(message.to_json())

    def write_line(self, line: bytes) -> None:
        """Write one line; waits while a pipe is full.

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
            # EIO: a terminal that was hung up.
            self._abandoned |= error.errno in (errno.EPIPE, errno.EIO)
            raise
        finally:
            if written:
                self._cut = written < len(data)

    def close(self) -> None:
        """Do nothing: the descriptor is somebody else's."""
