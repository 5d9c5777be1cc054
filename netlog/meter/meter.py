"""The meter: counts packets per connection in C, and returns the counts period by period."""

import os
from collections.abc import Iterable
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from netlog._native import check, ffi, lib
from netlog.meter.file import check_meter_file, open_meter_file, place_meter_file
from netlog.meter.poll import MeterPoll
from netlog.model.periods import Period

__all__ = ["DATAGRAM_DTYPE", "Meter"]

# What supports the buffer protocol. The standard library has a name for it only from Python 3.12.
BytesLike: TypeAlias = bytes | bytearray | memoryview

DATAGRAM_DTYPE = np.dtype(
    [
        ("address", "V16"),
        ("port", np.uint16),
        ("version", np.uint8),
        ("rx", np.uint8),
        ("length", np.uint32),
        ("gso_size", np.uint16),
        ("reserved", np.uint16),
    ]
)
"""One UDP datagram at the socket: `struct netlog_datagram` of csrc/include/netlog.h.

`address` is the remote's, 16 raw bytes in network order, IPv4 in mapped form with `version` 4;
`port` is in host order; `length` is the UDP payload in bytes; `gso_size` is the payload of one
segment if the datagram stands for several, else 0.
"""


def _as_words(values: npt.ArrayLike, name: str) -> npt.NDArray[np.uint64]:
    """Return an integer array of shape (n,) as unsigned words.

    Negative numbers become so large that they fail the later check of bounds.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected an array of shape (n,), got shape {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    if array.dtype.kind == "i":
        return np.ascontiguousarray(array, dtype=np.int64).view(np.uint64)
    return np.ascontiguousarray(array, dtype=np.uint64)


def _options(max_flows: int, max_endpoints: int | None, max_lanes: int) -> Any:  # noqa: ANN401 - as cffi has it
    """Return checked options for the core."""
    if max_endpoints is None:
        max_endpoints = max(64, max_flows // 4)
    for name, value, most in (
        ("max_flows", max_flows, lib.NETLOG_MAX_FLOWS),
        ("max_endpoints", max_endpoints, lib.NETLOG_MAX_FLOWS),
        ("max_lanes", max_lanes, lib.NETLOG_MAX_LANES),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name}: expected 1 to {most}, got {value}")
    options = ffi.new("struct netlog_meter_options *")
    options.max_flows = max_flows
    options.max_endpoints = max_endpoints
    options.max_lanes = max_lanes
    return options


class Meter(MeterPoll):
    """Counts per connection for the observation points of one node.

    Args:
        max_flows: connections per lane and bank at the TUN, 1 to 2**26. Memory is reserved for
            all of them (72 to 80 bytes each) and touched as they are seen. A connection that does
            not fit is counted as unattributed.
        max_endpoints: remote endpoints per lane and bank at the socket; default a quarter of
            `max_flows`, at least 64.
        max_lanes: threads that may count at once, 1 to 256. The update methods of this class take
            one lane, a device two, and a relay two for each queue.
        shared: whether a forked child counts into, or polls, the same tables. Otherwise the meter
            stays the parent's: in the child every call raises StateError, devices that count into
            it no longer count, and `close` is allowed. A meter in a file is never shared by a fork:
            the child attaches to the file.

    Raises:
        ValueError: an argument is out of range.
        MemoryError: the address space is exhausted.

    Thread safety: every method may be called from any thread. `snapshot`, `clear` and `extract`
        are the poller's and exclude each other.
    """

    def __init__(
        self,
        max_flows: int = 65536,
        *,
        max_endpoints: int | None = None,
        max_lanes: int = 16,
        shared: bool = False,
    ) -> None:
        options = _options(max_flows, max_endpoints, max_lanes)
        options.shared = shared
        opened = ffi.new("struct netlog_meter **")
        check(lib.netlog_meter_open(options, opened), "meter")
        self._hold(opened[0], None)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        max_flows: int = 65536,
        *,
        max_endpoints: int | None = None,
        max_lanes: int = 16,
        start_ns: int | None = None,
    ) -> Self:
        """Make a meter in a file, and become its poller.

        Its counts outlive this process: a process that attaches to the file finds them. Each lane
        in use takes its whole memory on the file system, so the file system should be a tmpfs.

        Args:
            path: a file that does not exist yet. If its directory is missing it is made, but not
                the directory's parents. The directory must belong to this user or to root, and
                other users must not be able to write to it.
            max_flows: as for `Meter`.
            max_endpoints: as for `Meter`.
            max_lanes: as for `Meter`.
            start_ns: first nanosecond of the first period, since the epoch; default: now.

        Raises:
            ValueError: an argument is out of range.
            MeterFileError: the file exists, other users may write to its directory, or a system
                call failed.
        """
        options = _options(max_flows, max_endpoints, max_lanes)
        name = os.fspath(path)
        created = ffi.new("struct netlog_meter **")
        meter = cls.__new__(cls)

        def fill(fd: int) -> None:
            check_meter_file(lib.netlog_meter_create(fd, options, created), name)
            meter._hold(created[0], name)  # noqa: SLF001 - its own
            meter.date(Period.beginning(start_ns))

        place_meter_file(name, fill)
        return meter

    @classmethod
    def attach(cls, path: str | os.PathLike[str], *, poll: bool = False) -> Self:
        """Count into a meter in a file, or poll it.

        Args:
            path: of the file; it must belong to this user and be closed to others.
            poll: become its poller, and continue where the last one stopped.

        Raises:
            FileNotFoundError: the file does not exist.
            MeterFileError: the file does not belong to this user, is not a meter, or is corrupt; or
                another process polls it.
        """
        name = os.fspath(path)
        attached = ffi.new("struct netlog_meter **")
        fd = open_meter_file(name)
        try:
            check_meter_file(lib.netlog_meter_attach(fd, attached), name)
        finally:
            os.close(fd)
        meter = cls.__new__(cls)
        meter._hold(attached[0], name)  # noqa: SLF001 - its own
        if poll:
            try:
                check_meter_file(lib.netlog_meter_take_poll(attached[0]), name)
            except BaseException:
                meter.close()
                raise
        return meter

    # -- counting ---------------------------------------------------------------------------------

    def update_batch(
        self,
        data: BytesLike | npt.NDArray[np.uint8],
        offsets: npt.ArrayLike,
        lengths: npt.ArrayLike,
        *,
        rx: bool | npt.ArrayLike = False,
    ) -> None:
        """Count packets in one buffer; all of them count in one epoch.

        Args:
            data: bytes-like, contiguous.
            offsets: integers, shape (n,), bytes: where each packet begins in `data`.
            lengths: integers, shape (n,), bytes: how long each packet is.
            rx: whether packets come out of the tunnel: a bool for all of them, or a bool array of
                shape (n,).

        Raises:
            TypeError: an array is not of integers, or `rx` is not of bools.
            ValueError: shapes differ, or a packet lies outside `data`; nothing was counted.
            StateError: the meter is closed.
        """
        if self._count_span(data, offsets, lengths, rx):
            return
        starts, sizes = _as_words(offsets, "offsets"), _as_words(lengths, "lengths")
        if starts.shape != sizes.shape:
            raise ValueError(f"offsets and lengths differ in shape: {starts.shape}, {sizes.shape}")
        directions = np.asarray(rx)
        if directions.dtype != np.bool_:
            raise TypeError(f"rx: expected a bool or an array of bools, got {directions.dtype}")
        if directions.ndim and directions.shape != starts.shape:
            raise ValueError(f"rx: expected shape {starts.shape}, got {directions.shape}")
        one = bool(directions) if not directions.ndim else np.ascontiguousarray(directions)
        counted = self._count_span(data, starts, sizes, one)
        assert counted  # noqa: S101 - the arrays are now as it takes them

    def update_packets(self, packets: Iterable[BytesLike], *, rx: bool = False) -> None:
        """Count IP packets that are objects of their own; all of them count in one epoch.

        Args:
            packets: bytes-like objects, each from its IP header on.
            rx: whether they come out of the tunnel.

        Raises:
            TypeError: one of them is not bytes-like, or `rx` is not a bool; nothing was counted.
            ValueError: one of them is not contiguous; nothing was counted.
            StateError: the meter is closed.
        """
        self._count_packets(packets, rx)

    def update_datagrams(self, datagrams: npt.NDArray[np.void]) -> None:
        """Count UDP datagrams by remote endpoint; all of them count in one epoch.

        Args:
            datagrams: DATAGRAM_DTYPE, shape (n,).

        Raises:
            TypeError: `datagrams` has another dtype.
            ValueError: it has another shape, or a `version` other than 4 or 6.
            StateError: the meter is closed.
        """
        if datagrams.dtype != DATAGRAM_DTYPE:
            raise TypeError("datagrams: expected an array of DATAGRAM_DTYPE")
        if datagrams.ndim != 1:
            raise ValueError(f"datagrams: expected shape (n,), got {datagrams.shape}")
        if not np.isin(datagrams["version"], (4, 6)).all():
            raise ValueError("datagrams: expected version 4 or 6")
        self._count_datagrams(np.ascontiguousarray(datagrams))
