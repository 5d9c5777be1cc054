"""The meter of a command that is metered from inside: made, found again, and removed."""

import contextlib
import fcntl
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netlog._native import ffi, lib
from netlog.meter.file import open_meter_file, remove_meter_file
from netlog.meter.meter import Meter

__all__ = ["Aside", "has_writers", "open_preload_meter", "read_aside"]

MAX_LANES = 16
"""How many threads of the command may move packets. In a meter for 65536 connections each of them
takes 14 MB."""
PRESENCE_BYTE = 512
"""The same as in csrc/preload/process.c."""
FLOCK = struct.Struct("hhqqi4x")
"""struct flock of the C library: type, whence, start, length, pid."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What the library reports besides its counts, since the meter was made.

    Attributes:
        processes: how many processes loaded the library.
        tuns: how many TUNs they opened.
        laneless_packets: packets that crossed while their thread had no lane; unattributed.
        laneless_bytes: bytes of those packets.
        far_descriptors: TUNs and sockets whose descriptor number is too high to be watched.
    """

    processes: int
    tuns: int
    laneless_packets: int
    laneless_bytes: int
    far_descriptors: int


def read_aside(meter: Meter) -> Aside:
    """Return what the processes that count into a meter report besides their counts.

    Raises:
        StateError: the meter is closed.

    Thread safety: any thread.
    """
    aside = ffi.new("struct netlog_aside *")
    lib.netlog_meter_read_aside(meter.handle, aside)
    return Aside(
        aside.processes,
        aside.tuns,
        aside.laneless_packets,
        aside.laneless_bytes,
        aside.far_descriptors,
    )


def has_writers(path: str) -> bool:
    """Return whether a process that loaded the library with this meter is alive.

    Args:
        path: of the meter's file.

    Raises:
        FileNotFoundError, MeterFileError: the file cannot be opened.

    Thread safety: any thread.
    """
    fd = open_meter_file(path)
    try:
        asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, PRESENCE_BYTE, 1, 0)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
        return bool(FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_preload_meter(path: str | None, max_flows: int) -> Iterator[Meter]:
    """Open or make a meter in a file, to poll it; remove it at the end if all counts were stored.

    Args:
        path: of the file. If a predecessor left one there, this process continues with it. None: a
            file in a new directory in memory, which is removed together with it.
        max_flows: connections per thread, if the meter is made.

    Raises:
        MeterFileError: the file cannot be used, or another process polls it.
        OSError: the directory cannot be made.
    """
    directory = None
    if path is None:
        directory = tempfile.mkdtemp(prefix="netlog-exec-", dir=_memory())
        path = str(Path(directory, "meter"))
    made = False
    try:
        meter = Meter.attach(path, poll=True)
    except FileNotFoundError:
        meter = Meter.create(path, max_flows, max_lanes=MAX_LANES)
        made = True
    emptied = False
    try:
        with meter:
            try:
                yield meter
                # If other processes still count into it, it stays for the next poller.
                emptied = not meter.retired and not has_writers(path)
            finally:
                # No process has loaded the library: the meter is empty.
                emptied |= made and not read_aside(meter).processes
    finally:
        if emptied:
            remove_meter_file(path)
            if directory is not None:
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()


def _memory() -> str | None:
    """Return a directory in memory where this user may make files; None: there is none."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), "/run", "/dev/shm"):  # noqa: S108 - a new directory there
        if candidate and os.access(candidate, os.W_OK):
            return candidate
    return None
