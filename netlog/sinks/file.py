"""Messages as JSON lines, appended to a file."""

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlog.message import Message

__all__ = ["FileSink"]

MODE = 0o600
"""Who talked to whom is nobody's business but the owner's; an existing file keeps its own mode."""


class FileSink:
    """Appends each message as a line to a file, in one write(2).

    The file holds whole lines only: a write that the disk cut short is taken back. If the file ends
    in the middle of a line, left there by a crash, the first message begins with a line break. A
    file that `copytruncate` of logrotate(8) empties goes on from its new end.

    A regular file is locked (flock), since taking back a cut line would harm another writer's.

    Args:
        path: the file; it is made, readable by its owner only, if it is not there. Character
            devices, such as /dev/null, will do; pipes and sockets, which can keep half a line, not.

    Raises:
        OSError: it can not be opened for appending, or another sink has it open.

    Thread safety: one thread at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        # O_NONBLOCK keeps open() from waiting for a pipe's reader; files do not know it.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, MODE)
        try:
            self._regular = self._check_kind()
            self._cut = self._regular and not self._ends_whole()
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, message: "Message") -> None:
        """Append one line.

        Args:
            message: what to append.

        Raises:
            OSError: the disk is full, or otherwise takes no more; nothing of the line is left.
            ValueError: the sink is closed.
        """
        if self._fd < 0:
            raise ValueError(f"{self._path}: the sink is closed")
        line = (b"\n" if self._cut else b"") + message.to_json() + b"\n"
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            error.filename = self._path
            raise
        if written < len(line):
            self._take_back(written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        self._cut = False

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check_kind(self) -> bool:
        """Whether this is a regular file, by now locked; anything but a device else is wrong."""
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISREG(mode):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OSError(errno.EBUSY, "another sink writes to it", self._path) from error
            return True
        if not stat.S_ISCHR(mode):
            raise OSError(errno.EINVAL, "neither a regular file nor a device", self._path)
        return False

    def _ends_whole(self) -> bool:
        size = os.lseek(self._fd, 0, os.SEEK_END)
        return size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

    def _take_back(self, n_bytes: int) -> None:
        """Remove the last bytes written; where that fails, the next line begins with a break."""
        try:
            # With O_APPEND the position after a write is the end of what it wrote.
            os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - n_bytes)
        except OSError:
            self._cut = True
