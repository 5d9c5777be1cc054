"""Messages as JSON lines, appended to a file."""

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netlog.sinks.archive import Archive
from netlog.sinks.rotation import RotatedNames, Rotation

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["FilePosition", "FileSink"]

_log = logging.getLogger("netlog")

MODE = 0o600
"""Only the owner may read who talked to whom. An existing file keeps its own mode."""
# With O_NONBLOCK, open() does not wait for a pipe's reader. It has no effect on regular files.
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class FilePosition:
    """The end of a file's lines, at one moment.

    Attributes:
        device: number of the file system that holds the file.
        inode: number of the file on that file system.
        size_bytes: size of the file.
    """

    device: int
    inode: int
    size_bytes: int


class FileSink:
    """Appends each message as a line to a file, in one write(2).

    - The file holds whole lines only: if the disk cuts a write short, the sink removes the partial
      line. If a crash left the file with an incomplete last line, the first message begins with a
      line break.
    - A file that `copytruncate` of logrotate(8) empties continues from its new end.
    - If the file was renamed or removed, the sink notices it before the next message and opens a
      new file. It does not make the directory: until the directory exists again, writing fails.
    - A regular file is locked (flock): a second writer's lines would be damaged when this one
      removes a partial line.

    Args:
        path: the file. If it is missing it is made, readable by its owner only. Character devices,
            such as /dev/null, are accepted; pipes and sockets are not, because they can keep half a
            line.
        rotation: when to rotate the file; None: never. A device is never rotated.
        clock_s: returns the time since the epoch, in seconds.

    Raises:
        OSError: the file cannot be opened for appending, or another sink has it open.
        MissingExtraError: rotated files are to be compressed, but no zstd module is installed.

    Thread safety: one thread at a time; `reopen` from any.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rotation: Rotation | None = None,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.fspath(path)
        self._rotation = rotation
        self._clock_s = clock_s
        self._fd = -1
        self._closed = self._reopen = self._stuck = False
        self._regular = self._cut = False
        self._began_s: float | None = None
        self._archive: Archive | None = None
        self._open()
        if rotation is not None and self._regular:
            try:
                self._archive = Archive(Path(self._path), rotation)
            except BaseException:
                self.close()
                raise

    def write(self, message: "Message") -> None:
        """Append one message. If a rotation is due, rotate first.

        Args:
            message: what to append.

        Raises:
            OSError: the disk is full, or writing failed for another reason; nothing of the line is
                left in the file.
            ValueError: the sink is closed.
        """
        self.write_line(message.to_json())

    def write_line(self, line: bytes) -> None:
        """Append one line. If a rotation is due, rotate first.

        Args:
            line: without its line break.

        Raises:
            OSError, ValueError: as `write`.
        """
        self.rotate_if_due(len(line) + 1)
        self.write_lines(line + b"\n")

    def write_lines(self, lines: bytes) -> None:
        """Append lines to the file that is open now: all of them, or nothing.

        Args:
            lines: each with its line break.

        Raises:
            OSError, ValueError: as `write`.
        """
        self._check_open()
        data = (b"\n" if self._cut else b"") + lines
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            error.filename = self._path
            raise
        if written < len(data):
            self._take_back(written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        self._cut = False
        if self._began_s is None:
            self._began_s = self._clock_s()

    def rotate_if_due(self, n_bytes: int = 0) -> None:
        """Make sure that the next lines go to the right file.

        If another file is at the path now, or none, open the path again. If the file is too long or
        too old, rotate it.

        Args:
            n_bytes: how many bytes will be written.

        Raises:
            OSError: the file is gone, and a new one cannot be made.
            ValueError: the sink is closed.
        """
        self._check_open()
        found = self._found()
        if self._reopen or found is None:
            self._reopen = False
            try:
                found = self._open()
            except OSError:
                self._reopen = True
                raise
        if self._rotation is None or not self._regular:
            return
        now_s = self._clock_s()
        if not found.st_size:
            self._began_s = None  # emptied from outside, for example by logrotate
        began_s = now_s if self._began_s is None else self._began_s
        if self._rotation.is_due(found.st_size, n_bytes, began_s, now_s):
            self._rotate(now_s)

    def position(self) -> FilePosition | None:
        """Return where the next line will begin; None: the file is a device, which has no end.

        Raises:
            OSError: fstat(2) failed.
            ValueError: the sink is closed.
        """
        self._check_open()
        found = os.fstat(self._fd)
        return FilePosition(found.st_dev, found.st_ino, found.st_size) if self._regular else None

    def cut_to(self, position: FilePosition) -> bool:
        """Remove the lines after a position, if the position belongs to the file that is open now.

        Args:
            position: from `position`, of this process or of an earlier one.

        Returns:
            Whether the position belongs to this file.

        Raises:
            OSError: the lines cannot be removed.
            ValueError: the sink is closed.
        """
        now = self.position()
        if now is None or (now.device, now.inode) != (position.device, position.inode):
            return False
        if now.size_bytes > position.size_bytes:
            os.ftruncate(self._fd, position.size_bytes)
        self._cut = not _ends_whole(self._fd)
        return True

    def sync(self) -> None:
        """Flush what was written to the disk.

        Raises:
            OSError: flushing failed.
            ValueError: the sink is closed.
        """
        self._check_open()
        if self._regular:
            os.fdatasync(self._fd)

    def reopen(self) -> None:
        """Open the path again before the next message, as after logrotate(8). Any thread."""
        self._reopen = True

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        self._closed = True
        if self._archive is not None:
            self._archive.close()
        fd, self._fd = self._fd, -1
        self._close(fd)

    def _close(self, fd: int) -> None:
        """Close a descriptor, if it is one. An error is reported: the file may lack its last lines.

        The descriptor is closed in any case. Nobody may use its number again, not even to close it:
        it may belong to another file by then.
        """
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:
                _log.warning("%s: closed with an error: %s", self._path, error.strerror)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._path}: the sink is closed")

    def _found(self) -> os.stat_result | None:
        """Return the state of the file at the path, if it is the file that is open; else None."""
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found if os.path.samestat(found, os.fstat(self._fd)) else None

    def _open(self) -> os.stat_result:
        """Open or make the file at the path. On an error the file that was open stays open."""
        fd = os.open(self._path, FLAGS, MODE)
        try:
            found = os.fstat(fd)
            if self._fd >= 0 and os.path.samestat(found, os.fstat(self._fd)):
                os.close(fd)
                return found
            self._regular = self._lock(fd, found)
            self._cut = self._regular and not _ends_whole(fd)
        except BaseException:
            os.close(fd)
            raise
        old, self._fd = self._fd, fd
        self._close(old)
        self._began_s = found.st_mtime if found.st_size else None
        return found

    def _lock(self, fd: int, found: os.stat_result) -> bool:
        """Return True for a regular file, after locking it, and False for a device; else raise."""
        if stat.S_ISREG(found.st_mode):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OSError(errno.EBUSY, "another sink has it open", self._path) from error
            return True
        if not stat.S_ISCHR(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file or a character device", self._path)
        return False

    def _rotate(self, now_s: float) -> None:
        """Rename the file and begin a new one. If that fails, continue with the old file."""
        path = Path(self._path).resolve()
        try:
            if self._cut:
                os.write(self._fd, b"\n")
            # The name cannot be taken by another process: only the holder of the file's lock
            # makes these names.
            path.rename(RotatedNames(path).new(now_s))
        except OSError as error:
            if not self._stuck:
                _log.warning("%s: cannot rotate: %s", self._path, error.strerror)
            self._stuck = True
            return
        self._stuck = False
        self._open()
        if self._archive is not None:
            self._archive.wake()

    def _take_back(self, n_bytes: int) -> None:
        """Remove the last bytes written. If that fails, the next line begins with a line break."""
        try:
            # With O_APPEND the position after a write is the end of what it wrote.
            os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - n_bytes)
        except OSError:
            self._cut = True


def _ends_whole(fd: int) -> bool:
    size = os.lseek(fd, 0, os.SEEK_END)
    return size == 0 or os.pread(fd, 1, size - 1) == b"\n"
