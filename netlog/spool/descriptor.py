"""What the calls of `os` leave to their caller: a short read, and an error of close(2)."""

import contextlib
import errno
import os

__all__ = ["close_descriptor", "read_at"]


def read_at(fd: int, n_bytes: int, offset: int) -> bytes:
    """Read bytes at an offset.

    pread(2) may return fewer at any time. Taken for the end of a file, that would be damage.

    Returns:
        The bytes; fewer at the end of the file, or before a bad sector of the disk.

    Raises:
        OSError: they cannot be read now.
    """
    data = b""
    while len(data) < n_bytes:
        try:
            more = os.pread(fd, n_bytes - len(data), offset + len(data))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            break
        if not more:
            break
        data += more
    return data


def close_descriptor(fd: int) -> None:
    """Close a descriptor. What counts was synced before, so an error changes nothing.

    The descriptor is closed in any case: closing it again could hit a file of another thread.
    """
    with contextlib.suppress(OSError):
        os.close(fd)
