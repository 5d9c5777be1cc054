"""The writing side of a spool: transactions, disk space, and reports of losses."""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from netlog.errors import StateError
from netlog.model.periods import PeriodId
from netlog.spool.cursor import CURSOR_BYTES, CursorFile
from netlog.spool.descriptor import close_descriptor
from netlog.spool.directory import COMMITTED_BYTES, SPARE_BYTES, SpoolDirectory, write_at
from netlog.spool.head import Head, remember
from netlog.spool.ledger import Ledger
from netlog.spool.place import MAX_COUNT, TakenIn
from netlog.spool.record import HEADER_BYTES, Kind, Raw, commit_payload, encode, loss_payload
from netlog.spool.recovery import Found
from netlog.spool.segment import Segment

__all__ = ["MIN_BYTES", "Writer"]

SEGMENTS = 8
"""A full spool has this many segments. A full spool drops its oldest segment as a whole."""
MAX_SEGMENT_BYTES = 8 * 1024 * 1024
RESERVE_BYTES = 4096
"""Space for a loss report, a commit and the head of a segment."""
USED_UP_BYTES = 64 * 1024
"""A shipped segment that is longer than this is replaced by a new one. A shorter one is kept,
because the last segment knows the meters, and is appended to."""
MIN_BYTES = 64 * 1024
"""The smallest useful bound: room for the cursor, the reserve, and some messages."""


@dataclass(slots=True)
class _Transaction:
    """The state at `begin`, to return to if the transaction fails."""

    period: PeriodId
    segment: int
    offset: int
    proc_seq: int
    totals: TakenIn
    first_ns: int = 0
    lost: TakenIn | None = None
    failed: OSError | None = None


class Writer:
    """Appends to the last segment, and keeps the spool within its bound.

    Args:
        directory: of the spool.
        ledger: of the spool.
        cursor: the file of its reader.
        found: where to continue.
        max_bytes: bound for all files together.

    Thread safety: one thread.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        ledger: Ledger,
        cursor: CursorFile,
        found: Found,
        max_bytes: int,
    ) -> None:
        self.node_id = ""
        self._directory = directory
        self._ledger = ledger
        self._cursor = cursor
        self._meters = found.meters
        fixed_bytes = CURSOR_BYTES + COMMITTED_BYTES + SPARE_BYTES
        self._max_bytes = max_bytes - fixed_bytes - RESERVE_BYTES
        self._segment_bytes = min(self._max_bytes // SEGMENTS, MAX_SEGMENT_BYTES)
        self._proc_id = secrets.randbits(32)
        self._proc_seq = 0
        self._totals = ledger.end
        self._fd = directory.open_segment(found.active) if found.active else -1
        self._active: Segment | None = ledger.segments.get(found.active)
        self._transaction: _Transaction | None = None
        self._uncut: _Transaction | None = None
        self._repeat_commit()

    def begin(self, period: PeriodId) -> bool:
        """See `Spool.begin`."""
        self.abort()
        if self._directory.restore():
            self._start_over()
        if self._uncut is not None:
            self._take_back(self._uncut)
            self._uncut = None
        if self._meters.get(period.meter_id, -1) >= period.epoch:
            return False
        if self._active is not None and (self._active.damaged or self._is_used_up(self._active)):
            self._close_active()
        active = self._active
        number, offset = (active.number, active.size_bytes) if active else (self._next_number(), 0)
        self._transaction = _Transaction(period, number, offset, self._proc_seq, self._totals)
        return True

    def append(self, payload: bytes, packets: int, n_bytes: int) -> None:
        """See `Spool.append`."""
        transaction = self._ongoing()
        raw = self._make(Kind.MESSAGE, payload, packets, n_bytes)
        with self._failing(transaction):
            if transaction.lost is None and not self._make_room(transaction, len(payload)):
                # Every older segment was dropped: the transaction is larger than the spool.
                transaction.lost = self._totals.since(transaction.totals)
                self._take_back(transaction)
            if transaction.lost is not None:
                transaction.lost = transaction.lost.plus(raw.adds())
            else:
                self._write(transaction, raw)

    def commit(self) -> None:
        """See `Spool.commit`."""
        transaction = self._ongoing()
        with self._failing(transaction):
            if transaction.lost is not None:
                self._pass_over(transaction, transaction.lost)
            with self._ledger.changed:
                untold = self._ledger.untold()
            if untold:
                payload = loss_payload(untold, self.node_id)
                raw = self._make(Kind.LOSS, payload, untold.packets, untold.n_bytes)
                self._write(transaction, raw)
            payload = commit_payload(transaction.period, self._totals)
            self._write(transaction, self._make(Kind.COMMIT, payload, 0, 0))
            os.fdatasync(self._fd)
            if os.fstat(self._fd).st_nlink == 0:
                if self._active is not None:
                    self._active.damaged = True
                raise OSError(errno.ENOENT, "a segment of the spool was removed from outside")
        self._publish(transaction)
        self._transaction = None

    def abort(self) -> None:
        """See `Spool.abort`."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None and transaction.failed is None:
            self._give_up(transaction)

    def close(self) -> None:
        """Forget what is not committed, and close the file."""
        self.abort()
        self._close_active()

    def _start_over(self) -> None:
        """Continue in an empty directory. The messages of the removed one are lost."""
        self._uncut = None
        self._close_active()
        with self._ledger.changed:
            self._ledger.segments.clear()
        self._cursor.renew()

    # -- what a transaction does -------------------------------------------------------------------

    def _ongoing(self) -> _Transaction:
        if self._transaction is None:
            raise StateError(f"{self._directory.path}: no period was begun")
        if self._transaction.failed is not None:
            number = self._transaction.failed.errno
            raise OSError(number, "an earlier write of this period failed", self._directory.path)
        return self._transaction

    @contextlib.contextmanager
    def _failing(self, transaction: _Transaction) -> Iterator[None]:
        """Give up the transaction if the block raises OSError."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or self._directory.path
            transaction.failed = error
            self._give_up(transaction)
            raise

    def _make(self, kind: Kind, payload: bytes, packets: int, n_bytes: int) -> Raw:
        proc_seq = 0 if kind == Kind.COMMIT else self._proc_seq + 1
        counts = min(packets, MAX_COUNT), min(n_bytes, MAX_COUNT)
        return Raw(kind, payload, self._proc_id, proc_seq, time.time_ns(), *counts, 0)

    def _write(self, transaction: _Transaction, raw: Raw) -> None:
        active = self._active or self._roll(transaction)
        data = encode(raw, active.number, active.size_bytes)
        write_at(self._fd, data, active.size_bytes)
        active.size_bytes += len(data)
        self._totals = self._totals.plus(raw.adds())
        if raw.proc_seq:
            self._proc_seq = raw.proc_seq
        if transaction.first_ns == 0:
            transaction.first_ns = raw.client_time_ns

    def _make_room(self, transaction: _Transaction, payload_bytes: int) -> bool:
        """Make room for a record; False: it does not fit, even without all older segments."""
        needed = HEADER_BYTES + payload_bytes
        active = self._active
        full = active is not None and active.size_bytes + needed > self._segment_bytes
        if active is None or (full and active.size_bytes > active.first_offset):
            # The new segment comes before anything is removed, so that there is always a segment
            # that knows the meters.
            self._roll(transaction)
        while True:
            with self._ledger.changed:
                if self._ledger.size_bytes() + needed <= self._max_bytes:
                    return True
                oldest = self._ledger.to_drop(transaction.segment)
                if oldest is None or needed > self._max_bytes:
                    return False
                # In the same moment: the reader must not take it in hand between the two.
                self._forget(oldest)
            self._unlink(oldest)

    def _forget(self, segment: Segment) -> None:
        """Take a segment out of the ledger, which counts its unread records as lost from now on."""
        with self._ledger.changed:
            self._ledger.segments.pop(segment.number, None)
            self._ledger.oldest_ns = None

    def _unlink(self, segment: Segment) -> None:
        """Remove the file of a segment that the ledger forgot; if that fails, it is there again."""
        try:
            self._directory.remove_segment(segment.number)
        except OSError:
            ledger = self._ledger
            with ledger.changed:
                again = {**ledger.segments, segment.number: segment}
                ledger.segments = dict(sorted(again.items()))
            raise

    def _roll(self, transaction: _Transaction) -> Segment:
        """Continue in a new segment."""
        clean = self._totals == transaction.totals
        if self._active is not None and not clean:
            # This segment's records count once the commit is synced, which is in another file: so
            # this file must be synced first.
            os.fdatasync(self._fd)
        self._close_active()
        segment = self._create(self._totals, clean=clean)
        if clean:
            transaction.segment, transaction.offset = segment.number, segment.first_offset
        return segment

    def _is_used_up(self, active: Segment) -> bool:
        """Return whether all of it was shipped, and it is long enough to be worth a new segment."""
        with self._ledger.changed:
            return active.size_bytes > USED_UP_BYTES and not self._ledger.pending()

    def _remove_shipped(self) -> None:
        """Remove segments that were kept only because they were the last one."""
        ledger = self._ledger
        with ledger.changed:
            if ledger.pending():
                return  # The reader removes them when it leaves them.
            shipped = list(ledger.segments.values())[:-1]
        for segment in shipped:
            self._forget(segment)
            self._unlink(segment)

    def _create(self, start: TakenIn, *, clean: bool) -> Segment:
        number, now_ns = self._next_number(), time.time_ns()
        head = Head(number, now_ns, start, clean, self._meters).encode()
        self._fd = self._directory.create_segment(number, head)
        segment = Segment(number, len(head), start, len(head), start, len(head), now_ns)
        with self._ledger.changed:
            self._ledger.segments[number] = segment
        self._active = segment
        if clean:
            self._remove_shipped()
        self._directory.make_spare()
        return segment

    def _pass_over(self, transaction: _Transaction, lost: TakenIn) -> None:
        """Store the period without its messages: as a gap in the totals, before a new segment."""
        period, before = transaction.period, self._meters
        self._close_active()
        self._meters = dict(before)
        remember(self._meters, period.meter_id, period.epoch)
        try:
            segment = self._create(self._totals.plus(lost), clean=True)
        except OSError:
            self._meters = before
            raise
        self._totals = segment.start
        with self._ledger.changed:
            self._ledger.committed, self._ledger.end = segment.number, segment.start
        self._repeat_commit()
        # The period is stored now. If a later step fails, it must not take this back.
        transaction.segment, transaction.offset = segment.number, segment.first_offset
        transaction.totals, transaction.lost = segment.start, None

    def _publish(self, transaction: _Transaction) -> None:
        """Make the committed records visible to the reader."""
        period, ledger = transaction.period, self._ledger
        remember(self._meters, period.meter_id, period.epoch)
        with ledger.changed:
            if not ledger.pending():
                ledger.oldest_ns = transaction.first_ns
            numbers = [number for number in ledger.segments if number >= transaction.segment]
            ends = [ledger.segments[number].start for number in numbers[1:]]
            for number, end in zip(numbers, [*ends, self._totals], strict=True):
                segment = ledger.segments[number]
                if not segment.damaged:
                    segment.end_offset, segment.end = segment.size_bytes, end
            ledger.committed, ledger.end = numbers[-1], self._totals
            ledger.changed.notify_all()
        self._repeat_commit()

    def _repeat_commit(self) -> None:
        """Write again, to another file, what was committed, for the case that this is damaged."""
        with self._ledger.changed:
            number, end = self._ledger.committed, self._ledger.end
        head = Head(number, time.time_ns(), end, clean=True, meters=self._meters)
        with contextlib.suppress(OSError):
            self._directory.write_committed(head.encode())

    # -- rolling back a transaction ----------------------------------------------------------------

    def _give_up(self, transaction: _Transaction) -> None:
        """Roll back; if the files cannot be cut now, they are cut before the next period."""
        try:
            self._take_back(transaction)
        except OSError:
            self._uncut = transaction

    def _take_back(self, transaction: _Transaction) -> None:
        """Cut off what was written since `begin`: the last segment first, as recovery does."""
        first, offset = transaction.segment, transaction.offset
        self._totals, self._proc_seq = transaction.totals, transaction.proc_seq
        with self._ledger.changed:
            numbers = [number for number in self._ledger.segments if number >= first]
        for number in reversed(numbers):
            if number == first and offset:
                self._cut(number, offset)
                continue
            if self._active is not None and self._active.number == number:
                self._close_active()
            self._directory.remove_segment(number)
            with self._ledger.changed:
                del self._ledger.segments[number]

    def _cut(self, number: int, offset: int) -> None:
        """Shorten the segment that the transaction began in, and continue there."""
        segment = self._ledger.segments[number]
        if self._active is not segment:
            self._fd, self._active = self._directory.open_segment(number), segment
        if segment.size_bytes > offset:
            os.ftruncate(self._fd, offset)
            segment.size_bytes = offset

    def _next_number(self) -> int:
        ledger = self._ledger
        with ledger.changed:
            return max(ledger.cursor.segment, ledger.committed, *ledger.segments, 0) + 1

    def _close_active(self) -> None:
        self._active = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_descriptor(fd)
