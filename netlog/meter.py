"""The meter: counts packets per connection in C, and hands the counts over period by period."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from netlog._meter_handle import MeterHandle, nanoseconds
from netlog._native import check, ffi, lib
from netlog.errors import StateError
from netlog.flows import FLOW_DTYPE, FlowArray
from netlog.meter_file import check_meter_file, open_meter_file, place_meter_file
from netlog.period import Period
from netlog.rows import SLICE_ROWS, Rows, Slice
from netlog.snapshot import Retired, Snapshot, Unattributed

__all__ = ["DATAGRAM_DTYPE", "Meter"]

# What the buffer protocol takes; the standard library names it from Python 3.12 on only.
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
"""One UDP datagram at the socket: `struct netlog_datagram` of csrc/netlog.h.

`address` is the remote's, 16 raw bytes in network order, IPv4 in mapped form with `version` 4;
`port` is in host order; `length` is the UDP payload in bytes; `gso_size` is the payload of one
segment if the datagram stands for several, else 0.
"""


def _as_words(values: npt.ArrayLike, name: str) -> npt.NDArray[np.uint64]:
    """An integer array of shape (n,) as unsigned words; negative ones become too large to pass."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected an array of shape (n,), got shape {array.shape}")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    if array.dtype.kind == "i":
        return np.ascontiguousarray(array, dtype=np.int64).view(np.uint64)
    return np.ascontiguousarray(array, dtype=np.uint64)


@contextlib.contextmanager
def _lent(data: BytesLike | npt.NDArray[np.uint8]) -> Iterator[tuple[Any, int]]:
    """The bytes of `data` for the time of a call, and how many they are."""
    with memoryview(data) as view:  # type: ignore[arg-type] # numpy's arrays are buffers
        if not view.c_contiguous:
            raise ValueError("expected contiguous bytes")
        with ffi.from_buffer("uint8_t[]", view) as buffer:
            yield buffer, view.nbytes


def _options(max_flows: int, max_endpoints: int | None, max_lanes: int) -> Any:  # noqa: ANN401 - as cffi has it
    """Checked options for the core."""
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


class Meter(MeterHandle):
    """Counts per connection for the observation points of one node.

    Args:
        max_flows: connections per lane and bank at the TUN, 1 to 2**26. Memory is reserved for
            all of them (72 to 80 bytes each) and touched as they are seen. A connection that does
            not fit is counted as unattributed.
        max_endpoints: remote endpoints per lane and bank at the socket; default a quarter of
            `max_flows`, at least 64.
        max_lanes: threads that may count at once, 1 to 256. Counting through this class takes one;
            a device takes two, a relay two.
        shared: whether a forked child counts into, or polls, the same tables.

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
        """Make a meter that lies in a file, and become its poller.

        Its counts outlive this process: whoever attaches to the file finds them. Each lane that is
        used takes its whole memory on the file system, which should be one of memory (tmpfs).

        Args:
            path: of a file that is not there. Its directory is made if it is missing (not further
                ones); it must be the user's or root's own and closed to others.
            max_flows: as for `Meter`. So are the next two.
            max_endpoints: as above.
            max_lanes: as above.
            start_ns: first nanosecond of the first period; default: now.

        Raises:
            ValueError: an argument is out of range.
            MeterFileError: the file is there, its directory is open to others, or a system call
                failed.
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
        """Count into a meter that lies in a file, or poll it.

        Args:
            path: of the file; it must be this user's own and closed to others.
            poll: become its poller, from where the last one came to.

        Raises:
            FileNotFoundError: there is no such file.
            MeterFileError: the file is not this user's own, is no meter or a corrupt one, or
                somebody polls it.
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

    def update_tx(self, packet: BytesLike) -> None:
        """Count one IP packet that goes from this node's stack into the tunnel.

        Args:
            packet: the packet from its IP header on. What is no IP packet is unattributed.

        Raises:
            TypeError: `packet` is not bytes-like.
            StateError: the meter is closed.
        """
        self._update(packet, lib.NETLOG_TX)

    def update_rx(self, packet: BytesLike) -> None:
        """Count one IP packet that comes out of the tunnel; see `update_tx`."""
        self._update(packet, lib.NETLOG_RX)

    def update_batch(
        self,
        data: BytesLike | npt.NDArray[np.uint8],
        offsets: npt.ArrayLike,
        lengths: npt.ArrayLike,
        *,
        rx: bool | npt.ArrayLike = False,
    ) -> None:
        """Count packets that lie in one buffer; all of them land in one epoch.

        Args:
            data: bytes-like, contiguous.
            offsets: integers, shape (n,), bytes: where each packet begins in `data`.
            lengths: integers, shape (n,), bytes: how long it is.
            rx: a bool for all of them, or a bool array of shape (n,): whether a packet comes out of
                the tunnel.

        Raises:
            TypeError: an array is not of integers, or `rx` not of bools.
            ValueError: shapes differ, or a packet lies outside `data`; nothing was counted.
            StateError: the meter is closed.
        """
        span = ffi.new("struct netlog_span *")
        starts, sizes = _as_words(offsets, "offsets"), _as_words(lengths, "lengths")
        if starts.shape != sizes.shape:
            raise ValueError(f"offsets and lengths differ in shape: {starts.shape}, {sizes.shape}")
        directions = np.asarray(rx)
        if directions.dtype != np.bool_:
            raise TypeError(f"rx: expected a bool or an array of bools, got {directions.dtype}")
        if directions.ndim and directions.shape != starts.shape:
            raise ValueError(f"rx: expected shape {starts.shape}, got {directions.shape}")
        with _lent(data) as (buffer, size):
            span.data, span.bytes = buffer, size
            span.offsets = ffi.from_buffer("uint64_t[]", starts)
            span.lengths = ffi.from_buffer("uint64_t[]", sizes)
            span.n = len(starts)
            if directions.ndim:
                directions = np.ascontiguousarray(directions)
                span.directions = ffi.from_buffer("uint8_t[]", directions)
            else:
                span.direction = lib.NETLOG_RX if directions else lib.NETLOG_TX
            with self._count_lock:
                result = lib.netlog_lane_count_span(self._own_lane(), span)
        if result:
            raise ValueError(f"offsets, lengths: a packet lies outside the {span.bytes} bytes")

    def update_datagrams(self, datagrams: npt.NDArray[np.void]) -> None:
        """Count UDP datagrams by remote endpoint; all of them land in one epoch.

        Args:
            datagrams: DATAGRAM_DTYPE, shape (n,).

        Raises:
            TypeError: `datagrams` has another dtype.
            ValueError: it has another shape, or a `version` that is neither 4 nor 6.
            StateError: the meter is closed.
        """
        if datagrams.dtype != DATAGRAM_DTYPE:
            raise TypeError("datagrams: expected an array of DATAGRAM_DTYPE")
        if datagrams.ndim != 1:
            raise ValueError(f"datagrams: expected shape (n,), got {datagrams.shape}")
        if not np.isin(datagrams["version"], (4, 6)).all():
            raise ValueError("datagrams: expected version 4 or 6")
        datagrams = np.ascontiguousarray(datagrams)
        pointer = ffi.cast("struct netlog_datagram *", ffi.from_buffer(datagrams))
        with self._count_lock:
            lib.netlog_lane_count_bracket(self._own_lane(), ffi.NULL, 0, pointer, len(datagrams))

    # -- polling ----------------------------------------------------------------------------------

    def extract(self) -> FlowArray:
        """Swap, drain, merge and clear: what the TUN side counted since the last extraction.

        What the socket side counted in the same epoch is cleared with it; use `snapshot` to have
        both. `unattributed` is set as a side effect.

        Returns:
            FLOW_DTYPE, shape (n,): each connection once, in no particular order.

        Raises:
            StateError: the meter is closed.
        """
        with self._polling():
            snapshot = self._swap_and_drain(timeout_s=1.0)
            self._clear()
        self._unattributed = snapshot.tun_unattributed
        return snapshot.tun

    def snapshot(self, timeout_s: float = 0.1) -> Snapshot:
        """Retire the live banks with one store and copy them out, without clearing them.

        Call `clear` once the snapshot is safe; until then no further one can be taken.

        Args:
            timeout_s: how long to wait for writers that are inside a batch.

        Raises:
            StateError: the meter is closed, or the last snapshot was not cleared.
            MeterFileError: the meter's file was damaged, or somebody else polls it.
        """
        with self._polling():
            return self._swap_and_drain(timeout_s)

    def retire(self, timeout_s: float = 0.1) -> Retired:
        """As `snapshot`, but rows are read when they are gone through, before `clear`.

        So a poll takes memory for some of them at a time, where at most two threads have counted;
        in a file, one. What more have counted is merged, and takes memory for all.

        Args:
            timeout_s: as for `snapshot`.

        Raises:
            StateError: the meter is closed, or the last snapshot was not cleared. So does going
                through the rows after they were cleared.
            MeterFileError: the meter's file was damaged, or somebody else polls it. So does going
                through the rows.
        """
        with self._polling():
            late = self._swap(timeout_s)
            tun_unattributed, _ = self._begin_drain(lib.NETLOG_TUN)
            sock_unattributed, _ = self._begin_drain(lib.NETLOG_SOCK)
            self._undrained, self._drained = None, True
            epoch = int(lib.netlog_meter_epoch(self._meter)) - 1
        return Retired(
            epoch,
            Rows(lambda: self._slices(lib.NETLOG_TUN, epoch)).with_row(tun_unattributed.as_row()),
            Rows(lambda: self._slices(lib.NETLOG_SOCK, epoch)).with_row(sock_unattributed.as_row()),
            tun_unattributed,
            sock_unattributed,
            late,
        )

    def clear(self) -> None:
        """Empty the banks of the last snapshot. Without one it does nothing.

        Raises:
            MeterFileError: the meter's file was damaged.
        """
        with self._polling():
            self._clear()

    @property
    def retired(self) -> bool:
        """Whether counts were retired and not cleared: by a snapshot, or by a dead poller."""
        self._check_open()
        return bool(lib.netlog_meter_retired(self._meter))

    @property
    def period(self) -> tuple[Period, bool]:
        """The last period that a poller dated, and whether the retired counts are of that one."""
        self._check_open()
        period = ffi.new("struct netlog_period *")
        current = bool(lib.netlog_meter_period(self._meter, period))
        return Period(period.start_ns, period.end_ns, period.ended_ns), current

    def date(self, period: Period) -> None:
        """Note the period of the snapshot that was taken, for a successor. The poller's."""
        with self._polling():
            fields = [period.start_ns, period.end_ns, period.ended_ns]
            lib.netlog_meter_date(self._meter, ffi.new("struct netlog_period *", fields))

    @property
    def unattributed(self) -> Unattributed:
        """Packets of the last extraction that have no connection."""
        return self._unattributed

    # -- inside -----------------------------------------------------------------------------------

    def _own_lane(self) -> Any:  # noqa: ANN401 - as above
        """The lane of this object's update methods; the caller holds `_count_lock`."""
        if self._lane is None:
            self._lane = self.acquire_lane()
        return self._lane

    @contextlib.contextmanager
    def _polling(self) -> Iterator[None]:
        with self._poll_lock:
            self._check_open()
            yield

    def _update(self, packet: BytesLike, direction: int) -> None:
        described = ffi.new("struct netlog_packet *")
        with _lent(packet) as (buffer, size):
            described.data, described.length, described.direction = buffer, size, direction
            with self._count_lock:
                lib.netlog_lane_count_bracket(self._own_lane(), described, 1, ffi.NULL, 0)

    def _clear(self) -> None:
        check_meter_file(lib.netlog_meter_clear(self._meter), self._path)
        self._undrained = None
        self._drained = False

    def _swap(self, timeout_s: float) -> int:
        """Retire the live banks. Returns how many writers were late."""
        if self._drained:
            raise StateError("meter: the last snapshot was not cleared")
        # A drain that failed (no memory for the rows) left the banks as they were: this is the
        # same epoch again.
        if self._undrained is None:
            late = lib.netlog_meter_swap(self._meter, nanoseconds(timeout_s))
            # Busy: a poller that is dead has swapped, and not cleared.
            resumed = late == -errno.EBUSY
            self._undrained = 0 if resumed else check_meter_file(late, self._path)
        return self._undrained

    def _swap_and_drain(self, timeout_s: float) -> Snapshot:
        late = self._swap(timeout_s)
        epoch = int(lib.netlog_meter_epoch(self._meter)) - 1
        tun, tun_unattributed = self._drain(lib.NETLOG_TUN)
        sock, sock_unattributed = self._drain(lib.NETLOG_SOCK)
        self._undrained = None
        self._drained = True
        return Snapshot(epoch, tun, sock, tun_unattributed, sock_unattributed, late)

    def _begin_drain(self, point: int) -> tuple[Unattributed, bool]:
        """What is unattributed, and whether rows can be drained some at a time."""
        counts = ffi.new("struct netlog_unattributed *")
        rc = lib.netlog_meter_drain_begin(self._meter, point, counts)
        if rc != -errno.ENOTSUP:
            check_meter_file(rc, self._path)
        return Unattributed.of(counts), rc == 0

    def _slices(self, point: int, epoch: int) -> Iterator[Slice]:
        """Go through the retired rows of an epoch."""
        flows = np.empty(SLICE_ROWS, FLOW_DTYPE)
        pointer = ffi.cast("struct netlog_flow *", ffi.from_buffer(flows))
        with self._polling():
            self._check_retired(epoch)
            _, possible = self._begin_drain(point)
            merged = None if possible else self._drain(point)[0]
        if merged is not None:
            yield from Rows.of(merged)
            return
        drained = SLICE_ROWS
        while drained == SLICE_ROWS:
            with self._polling():
                self._check_retired(epoch)
                drained = check_meter_file(
                    lib.netlog_meter_drain_next(self._meter, point, pointer, SLICE_ROWS),
                    self._path,
                )
            yield flows[:drained], drained < SLICE_ROWS

    def _check_retired(self, epoch: int) -> None:
        if not self._drained or int(lib.netlog_meter_epoch(self._meter)) - 1 != epoch:
            raise StateError("meter: these rows were cleared")

    def _drain(self, point: int) -> tuple[FlowArray, Unattributed]:
        rows = lib.netlog_meter_retired_rows(self._meter, point)
        flows = np.empty(rows, FLOW_DTYPE)
        counts = ffi.new("struct netlog_unattributed *")
        pointer = ffi.cast("struct netlog_flow *", ffi.from_buffer(flows))
        drained = check_meter_file(
            lib.netlog_meter_drain(self._meter, point, pointer, rows, counts), self._path
        )
        return flows[:drained], Unattributed.of(counts)
