"""The spool as the rest of netlog sees it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool.cursor import CURSOR_BYTES, CursorFile
from netlog.spool.directory import COMMITTED_BYTES, SPARE_BYTES, SpoolDirectory
from netlog.spool.ledger import Ledger
from netlog.spool.place import Position, TakenIn
from netlog.spool.reader import Reader
from netlog.spool.record import Record
from netlog.spool.recovery import recover
from netlog.spool.writer import MIN_BYTES, Writer

__all__ = ["Spool", "SpoolCounters"]

METER_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class SpoolCounters:
    """The state of a spool.

    Attributes:
        pending: records that were committed and not yet passed by `advance`.
        spool_bytes: size of all its files.
        age_s: how long the oldest pending record has been there, in seconds; 0: there is none.
        dropped: what was lost since the spool was opened, or before and not reported yet.
    """

    pending: int
    spool_bytes: int
    age_s: float
    dropped: Loss


class Spool:
    """Keeps messages on disk until they are shipped, in order, within a bound.

    See `netlog.spool` for what it guarantees.

    Args:
        directory: of its files. If it is missing it is made with mode 0700; its parent must exist.
        max_bytes: bound for all its files, at least 64 KiB. When the spool is full, the oldest
            segment, about an eighth of it, is dropped. A period of more than seven eighths may be
            refused.
        node_id: whose losses the spool reports.

    Raises:
        ValueError: the bound is too small, or the spool is of another version of netlog.
        OSError: EBUSY: another process has it open; EPERM: it is not private to this user; others:
            its files cannot be read or made.

    Thread safety: `begin`, `append`, `commit`, `abort` belong to one thread, the writer; `read` and
        `advance` to one thread, the reader; `wait`, `wake` and `counters` to any. Call `close` when
        writer and reader have ended.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, max_bytes: int, node_id: str = ""
    ) -> None:
        if max_bytes < MIN_BYTES:
            raise ValueError(f"max_bytes: expected at least {MIN_BYTES}, got {max_bytes}")
        self._ledger = Ledger()
        self._directory = SpoolDirectory(directory)
        try:
            self._cursor = CursorFile(self._directory)
        except BaseException:
            self._directory.close()
            raise
        try:
            found = recover(self._directory, self._cursor, self._ledger)
            self._directory.make_spare()
            self._writer = Writer(self._directory, self._ledger, self._cursor, found, max_bytes)
        except BaseException:
            self._cursor.close()
            self._directory.close()
            raise
        self._writer.node_id = node_id
        self._reader = Reader(self._directory, self._ledger, self._cursor)
        untold = self._ledger.untold()
        lost = self._ledger.lost().data
        self._lost_before = TakenIn(
            0,
            max(0, lost.messages - untold.messages),
            max(0, lost.packets - untold.packets),
            max(0, lost.n_bytes - untold.n_bytes),
        )

    @property
    def path(self) -> str:
        """The spool's directory."""
        return self._directory.path

    @property
    def node_id(self) -> str:
        """Whose losses the spool reports; set it before the first period."""
        return self._writer.node_id

    @node_id.setter
    def node_id(self, node_id: str) -> None:
        self._writer.node_id = node_id

    # -- the writer --------------------------------------------------------------------------------

    def begin(self, period: PeriodId) -> bool:
        """Begin to store a period. Messages of an earlier `begin` without a commit are forgotten.

        If the directory was removed it is made again; its messages are lost, counted and reported.

        Returns:
            Whether the period is wanted; False: this epoch of the meter, or a later one, is
            committed.

        Raises:
            OSError: the rest of a failed period cannot be cut off, or the directory cannot be made.
            ValueError: the meter's id does not have 16 bytes.
        """
        if len(period.meter_id) != METER_ID_BYTES:
            raise ValueError(f"meter_id: expected {METER_ID_BYTES} bytes")
        return self._writer.begin(period)

    def append(self, payload: bytes, packets: int, n_bytes: int) -> None:
        """Take in a message of the period.

        Args:
            payload: a JSON object.
            packets: sum of its entries, 0 or more; reported if the message is lost.
            n_bytes: sum of its entries, 0 or more; reported if the message is lost.

        Raises:
            OSError: nothing of the period is stored; calls fail until the next `begin`.
            StateError: no period was begun.
        """
        self._writer.append(payload, packets, n_bytes)

    def commit(self) -> None:
        """Make the messages since `begin` durable, and visible to the reader.

        If something was lost, a record that reports it is added.

        Raises:
            OSError: nothing of the period is stored.
            StateError: no period was begun.
        """
        self._writer.commit()

    def abort(self) -> None:
        """Forget the messages since `begin`."""
        self._writer.abort()

    # -- the reader --------------------------------------------------------------------------------

    def read(
        self,
        max_records: int,
        max_bytes: int,
        overhead_bytes: int = 0,
        *,
        across_segments: bool = False,
    ) -> list[Record]:
        """Read the records after the cursor. The cursor does not move.

        The records are in hand until `advance`, `release` or the next `read`: a full spool drops
        their segments last, and they count as lost only if they are released after that.

        Args:
            max_records: most records to return.
            max_bytes: most bytes of all payloads together; one record is returned in any case.
            overhead_bytes: what each record takes of `max_bytes` besides its payload.
            across_segments: whether the records may be of several segments. Few records are best
                then, because a full spool can drop other segments only.

        Returns:
            The records, the oldest first; empty: there are none.

        Raises:
            OSError: they cannot be read now; the caller may try again.
        """
        return self._reader.read(
            max_records, max_bytes, overhead_bytes, across_segments=across_segments
        )

    def advance(
        self, to: Record | Position, note: bytes = b"", *, given_up: Iterable[Record] = ()
    ) -> None:
        """Move the cursor, so that records before it do not come again. Durable when this returns.

        Args:
            to: the last record that is done with, or a position.
            note: at most 64 bytes that are saved together with the position.
            given_up: those of the records that did not arrive and will not: they count as lost.

        Raises:
            OSError: the cursor has not moved; the caller may try again.
            ValueError: the note is too long.
        """
        position = to if isinstance(to, Position) else to.position
        for record in given_up:
            skipped = position.skipped.plus(record.adds())
            position = replace(position, skipped=skipped)
        self._reader.advance(position, note)

    def release(self) -> None:
        """Give back the records in hand: they did not arrive, and are read again if still there."""
        self._reader.release()

    @property
    def position(self) -> Position:
        """The position of the cursor."""
        return self._ledger.cursor

    @property
    def note(self) -> bytes:
        """The note of the last `advance`."""
        return self._reader.note

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read, or for `wake`.

        Args:
            timeout_s: the longest wait, in seconds; None: no limit.

        Returns:
            Whether there is something to read.
        """
        ledger = self._ledger
        with ledger.changed:
            ledger.changed.wait_for(lambda: ledger.woken or ledger.pending() > 0, timeout_s)
            ledger.woken = False
            return ledger.pending() > 0

    def wake(self) -> None:
        """End the present `wait`, or the next one."""
        with self._ledger.changed:
            self._ledger.woken = True
            self._ledger.changed.notify_all()

    def wait_empty(self, timeout_s: float | None) -> bool:
        """Wait until nothing is pending; return whether that is so."""
        ledger = self._ledger
        with ledger.changed:
            return ledger.changed.wait_for(lambda: ledger.pending() == 0, timeout_s)

    def counters(self) -> SpoolCounters:
        """Return the state of the spool."""
        ledger = self._ledger
        with ledger.changed:
            dropped = ledger.lost().since(self._lost_before).data
            size_bytes = ledger.size_bytes() + CURSOR_BYTES + COMMITTED_BYTES + SPARE_BYTES
            return SpoolCounters(ledger.pending(), size_bytes, ledger.age_s(), dropped)

    def close(self) -> None:
        """Forget what is not committed, and release the directory. Closing twice is fine."""
        self._writer.close()
        self._reader.close()
        self._cursor.close()
        self._directory.close()
