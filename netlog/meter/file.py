"""Files that hold a meter, made and opened so that no other user can interfere."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator

from netlog._native import check
from netlog.errors import MeterFileError

__all__ = ["check_meter_file", "open_meter_file", "place_meter_file", "remove_meter_file"]

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_REASONS = {
    errno.EBUSY: "another process polls this meter",
    errno.EBADMSG: "not a meter of this version of netlog, or a damaged one",
    errno.EIO: "this meter's file was truncated",
    errno.EPERM: "only its poller may do that, in the process that opened the file",
    errno.EEXIST: "it exists already",
    errno.EOVERFLOW: "too large for a 32-bit process; lower max_flows, max_endpoints or max_lanes",
    errno.ENOTSUP: "processes on this machine cannot share a meter: it has no 64-bit atomics,"
    " or no memory barriers that the poller can ask for",
}


def check_meter_file(result: int, path: str | None) -> int:
    """Turn a negative errno from the core into its exception.

    Args:
        result: what the core returned.
        path: the meter's file; None: the meter is not in a file.

    Returns:
        `result`, if it is not negative.

    Raises:
        MeterFileError: the file cannot be used.
        MemoryError, ValueError, DeviceError: as `netlog._native.check`.
    """
    if result >= 0 or path is None or result in (-errno.ENOMEM, -errno.EINVAL):
        return check(result, path or "meter")
    raise _error(-result, path)


def _error(number: int, path: str, why: str = "") -> MeterFileError:
    return MeterFileError(number, why or _REASONS.get(number, os.strerror(number)), path)


def open_meter_file(path: str) -> int:
    """Open a meter's file for reading and writing.

    Args:
        path: a regular file of this user with mode 0600; not a symbolic link.

    Returns:
        A descriptor; the caller closes it.

    Raises:
        FileNotFoundError: the file does not exist.
        MeterFileError: it is not such a file.
    """
    # With O_NONBLOCK, open() does not wait for a pipe's other end. It has no effect on regular
    # files.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as failure:
        raise _error(failure.errno or errno.EIO, path) from failure
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            return fd
        error = _error(errno.EACCES, path, "expected a file of this user with mode 0600")
    else:
        error = _error(errno.EINVAL, path, "expected a regular file")
    os.close(fd)
    raise error


def place_meter_file(path: str, fill: Callable[[int], None]) -> None:
    """Make a file, let `fill` write it, and only then give it its name.

    Args:
        path: of the file. Its directory is made if it is missing.
        fill: gets the descriptor of an empty file, which is closed after the call.

    Raises:
        MeterFileError: the file exists already, or other users may write to the directory.
        Whatever `fill` raises; then no file is left.
    """
    directory, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - resolves no link
    with _directory(directory) as directory_fd:
        new = f".{name}.new"
        # The lock on the directory keeps others out, so an old file of this name was left by a
        # process that was killed.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=directory_fd)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(new, flags, FILE_MODE, dir_fd=directory_fd)
        except OSError as error:
            raise _error(error.errno or errno.EIO, path) from error
        try:
            os.fchmod(fd, FILE_MODE)  # whatever the umask is
            fill(fd)
            os.link(new, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        except FileExistsError as error:
            raise _error(errno.EEXIST, path) from error
        finally:
            os.close(fd)
            os.unlink(new, dir_fd=directory_fd)


def remove_meter_file(path: str) -> None:
    """Remove a meter's file. Processes that have it open keep it until they close it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a str path, as elsewhere here


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    """Open and lock a directory that only its owner can write to; make it if it is missing."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, DIRECTORY_MODE)  # noqa: PTH102 - as above
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _error(error.errno or errno.EIO, path) from error
    try:
        status = os.fstat(fd)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise _error(errno.EACCES, path, "expected a directory that others cannot write to")
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)
