"""The directory of a spool: private, locked, and without a way out through symbolic links."""

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path

from netlog.spool.descriptor import close_descriptor, read_at

__all__ = ["COMMITTED_BYTES", "SPARE_BYTES", "SpoolDirectory", "write_at"]

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
"""Only the owner may read who talked to whom."""
CURSOR = "cursor"
SPARE = "spare"
"""The file that becomes the next segment. It takes its disk space before the disk is full. A new
segment has this name until its head is complete."""
SPARE_BYTES = 4096
COMMITTED = "committed"
"""The file that repeats what the last commit said, so that damage behind it is seen."""
COMMITTED_BYTES = 2048
MAX_NUMBER = 1 << 63
"""A file with a greater number in its name is not a segment of this spool."""
SEGMENT = re.compile(r"(\d{20})\.segment", re.ASCII)


class SpoolDirectory:
    """Opens, makes and removes the files of a spool by name, relative to its open directory.

    Args:
        path: of the directory. It is made if it is missing; its parent is not.

    Raises:
        OSError: the directory cannot be opened or made; EBUSY: another process has the spool open;
            EPERM: the directory belongs to another user, or others may enter it.

    Thread safety: any thread, except `close`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = self._take()

    def restore(self) -> bool:
        """Make the directory again if it was removed.

        Returns:
            Whether it was removed; all its files are gone then.

        Raises:
            OSError: as when the directory was first opened.
        """
        if os.fstat(self._fd).st_nlink:
            return False
        fd = self._take()
        try:
            # In place: the other thread must never see a closed descriptor.
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            close_descriptor(fd)
        return True

    def _take(self) -> int:
        """Open the directory, made if it is missing, and lock it."""
        with contextlib.suppress(FileExistsError):
            Path(self.path).mkdir(DIRECTORY_MODE)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path, flags)
        try:
            self._check(fd)
        except BaseException:
            close_descriptor(fd)
            raise
        return fd

    def _check(self, fd: int) -> None:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "the spool belongs to another user", self.path)
        if status.st_mode & 0o077:
            raise OSError(errno.EPERM, "other users may enter the spool; run chmod 0700", self.path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, "another process has the spool open", self.path) from error

    def segments(self) -> list[int]:
        """Return the numbers of the segments, in order."""
        with os.scandir(self._fd) as entries:
            found = [SEGMENT.fullmatch(entry.name) for entry in entries]
        numbers = sorted(int(match[1]) for match in found if match)
        return [number for number in numbers if 0 < number < MAX_NUMBER]

    def open_cursor(self) -> int:
        """Open the cursor file for reading and writing; make it if it is missing."""
        return self._open(CURSOR, os.O_RDWR | os.O_CREAT)

    def open_segment(self, number: int) -> int:
        """Open a segment for reading and writing."""
        return self._open(_name(number), os.O_RDWR)

    def create_segment(self, number: int, header: bytes) -> int:
        """Make a segment with its complete header, durably; if that fails, make none.

        Returns:
            The descriptor.

        Raises:
            OSError: no segment was made.
        """
        fd = self._open(SPARE, os.O_RDWR | os.O_CREAT)
        try:
            write_at(fd, header, 0)
            os.ftruncate(fd, len(header))
            os.fdatasync(fd)
            self._rename(SPARE, _name(number))
            self.sync()
        except BaseException:
            close_descriptor(fd)
            with contextlib.suppress(OSError):
                self._unlink(_name(number))
            raise
        return fd

    def make_spare(self) -> None:
        """Reserve disk space for the next segment, if the disk has any."""
        with contextlib.suppress(OSError):
            fd = self._open(SPARE, os.O_RDWR | os.O_CREAT)
            try:
                write_at(fd, bytes(SPARE_BYTES), 0)
            finally:
                close_descriptor(fd)

    def read_committed(self, max_bytes: int) -> bytes:
        """Return the beginning of the file that repeats the last commit; empty: there is none."""
        try:
            fd = self._open(COMMITTED, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return read_at(fd, max_bytes, 0)
        finally:
            close_descriptor(fd)

    def write_committed(self, data: bytes) -> None:
        """Write the file that repeats the last commit. It is not synced.

        Raises:
            OSError: it cannot be written.
        """
        fd = self._open(COMMITTED, os.O_WRONLY | os.O_CREAT)
        try:
            write_at(fd, data.ljust(COMMITTED_BYTES, b"\0"), 0)
        finally:
            close_descriptor(fd)

    def remove_segment(self, number: int) -> None:
        """Remove a segment. It is fine if it is gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._unlink(_name(number))

    def sync(self) -> None:
        """Make changes of file names durable."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the lock. Closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_descriptor(fd)

    def _open(self, name: str, flags: int) -> int:
        # O_NONBLOCK: if the name is a pipe, opening it must not wait.
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        fd = os.open(name, flags, FILE_MODE, dir_fd=self._fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            close_descriptor(fd)
            path = Path(self.path, name)
            raise OSError(errno.EPERM, "not a regular file of this user", str(path))
        return fd

    def _unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self._fd)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, or raise OSError."""
    written = os.pwrite(fd, data, offset)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _name(number: int) -> str:
    return f"{number:020d}.segment"
