"""The poller's side of a meter: retire, read and clear what was counted."""

import contextlib
import errno
import logging
from collections.abc import Iterator

import numpy as np

from netlog._native import ffi, lib
from netlog.errors import StateError
from netlog.meter.file import check_meter_file
from netlog.meter.handle import MeterHandle, nanoseconds
from netlog.meter.snapshot import Retired, Snapshot, Unattributed
from netlog.model.flows import FLOW_DTYPE, FlowArray
from netlog.model.periods import Period
from netlog.model.rows import SLICE_ROWS, Rows, Slice

__all__ = ["MeterPoll"]

_log = logging.getLogger("netlog")

NO_ADDRESSES = lib.NETLOG_NO_SRC | lib.NETLOG_NO_DST


class MeterPoll(MeterHandle):
    """Polls a meter; part of `Meter`.

    Thread safety: every method may be called from any thread; they exclude each other.
    """

    def extract(self) -> FlowArray:
        """Swap, drain, merge and clear: return what the TUN side counted since the last extraction.

        This also clears what the socket side counted in the same epoch; use `snapshot` to get both.
        As a side effect it sets `unattributed`.

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

        Call `clear` when the snapshot is stored safely. Until then `snapshot` fails.

        Args:
            timeout_s: how long to wait for writers that are inside a batch, in seconds.

        Raises:
            StateError: the meter is closed, or the last snapshot was not cleared.
            MeterFileError: the meter's file was damaged, or another process polls it.
        """
        with self._polling():
            return self._swap_and_drain(timeout_s)

    def retire(self, timeout_s: float = 0.1) -> Retired:
        """As `snapshot`, but rows are read while the caller iterates over them, before `clear`.

        So a poll needs memory for only some rows at a time. That is so if at most 16 threads have
        counted, or one if the meter is in a file. With more threads the rows are merged, which
        takes memory for all of them.

        Args:
            timeout_s: as for `snapshot`.

        Raises:
            StateError: the meter is closed, or the last snapshot was not cleared. Iterating over
                the rows raises it after they were cleared.
            MeterFileError: the meter's file was damaged, or another process polls it. Iterating
                over the rows can raise it too.
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

    def read_again(self) -> None:
        """Let the next `retire` or `snapshot` give the same counts again, if they are not cleared.

        Raises:
            StateError: the meter is closed.
        """
        with self._polling():
            if self._drained:
                self._drained, self._undrained = False, 0

    @property
    def retired(self) -> bool:
        """Whether counts were retired and not cleared, by a snapshot or by a poller that died."""
        with self._used():
            return bool(lib.netlog_meter_retired(self._meter))

    @property
    def period(self) -> tuple[Period, bool]:
        """The last period that a poller dated, and whether the retired counts belong to it.

        If it is damaged, it is the period before it, or one of zeros; see `period_damaged`.
        """
        period, result = self._read_period()
        return period, result > 0

    @property
    def period_damaged(self) -> bool:
        """Whether the last period that a poller dated cannot be read any more."""
        return self._read_period()[1] < 0

    def date(self, period: Period) -> None:
        """Store the snapshot's period in the meter, for a successor. Only for the poller."""
        with self._polling():
            fields = [period.start_ns, period.end_ns, period.ended_ns]
            lib.netlog_meter_date(self._meter, ffi.new("struct netlog_period *", fields))

    @property
    def unattributed(self) -> Unattributed:
        """Packets of the last extraction that have no connection."""
        return self._unattributed

    # -- inside -----------------------------------------------------------------------------------

    def _read_period(self) -> tuple[Period, int]:
        """Return the last whole period, and what the core said of it."""
        fields = ffi.new("struct netlog_period *")
        with self._used():
            result = int(lib.netlog_meter_period(self._meter, fields))
        period = Period(fields.start_ns, fields.end_ns, fields.ended_ns)
        # Its check word is right, but any program may have dated it.
        return (period, result) if period.is_possible else (Period(0, 0, 0), -errno.EBADMSG)

    @contextlib.contextmanager
    def _polling(self) -> Iterator[None]:
        with self._poll_lock:
            self._check_open()
            yield

    def _clear(self) -> None:
        check_meter_file(lib.netlog_meter_clear(self._meter), self._path)
        self._undrained = None
        self._drained = False

    def _swap(self, timeout_s: float) -> int:
        """Retire the live banks. Returns how many writers were late."""
        if self._drained:
            raise StateError("meter: the last snapshot was not cleared")
        # If the last drain failed (no memory for the rows), the banks are unchanged: drain the same
        # epoch again instead of swapping.
        if self._undrained is None:
            late = lib.netlog_meter_swap(self._meter, nanoseconds(timeout_s))
            # EBUSY: a poller swapped and died before it cleared. Take over its epoch.
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
        """Return what is unattributed, and whether rows can be drained some at a time."""
        counts = ffi.new("struct netlog_unattributed *")
        rc = lib.netlog_meter_drain_begin(self._meter, point, counts)
        if rc != -errno.ENOTSUP:
            check_meter_file(rc, self._path)
        return Unattributed.of(counts), rc == 0

    def _slices(self, point: int, epoch: int) -> Iterator[Slice]:
        """Yield the retired rows of an epoch in slices."""
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
            self._tell_damaged(flows[:drained])
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
        self._tell_damaged(flows[:drained])
        return flows[:drained], Unattributed.of(counts)

    def _tell_damaged(self, rows: FlowArray) -> None:
        """Report, once, that the core has taken the connections from damaged rows."""
        if self._path is None or self._damage_told:
            return
        if n := int(np.count_nonzero(rows["flags"] == NO_ADDRESSES)):
            self._damage_told = True
            _log.warning(
                "meter %s: %d damaged records: their counts have no addresses", self._path, n
            )
