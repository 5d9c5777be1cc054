"""The spool: what the rest of netlog sees of it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool.cursor import CURSOR_BYTES, CursorFile
from netlog.spool.directory import SPARE_BYTES, SpoolDirectory
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
    """How a spool stands.

    Attributes:
        pending: records that were committed and not yet passed by `advance`.
        spool_bytes: of all its files.
        age_s: how long the oldest pending record has been there; 0 if none is.
        dropped: what was given up since the spool was opened, or before and not yet told of.
    """

    pending: int
    spool_bytes: int
    age_s: float
    dropped: Loss


class Spool:
    """Keeps messages on disk until they are shipped, in order, within a bound.

    See `netlog.spool` for what it promises.

    Args:
        directory: where it lives; made with mode 0700 if it is not there, in a directory that is.
        max_bytes: of all its files, at least 64 KiB. When it is full the oldest segment, about an
            eighth, goes; a period of more than seven eighths may be refused.
        node_id: whose losses the spool tells of.

    Raises:
        ValueError: the bound is too small, or the spool is of another version of netlog.
        OSError: EBUSY: another one has it open; EPERM: it is not private to this user; else its
            files can not be read or made.

    Thread safety: `begin`, `append`, `commit`, `abort` belong to one thread, the writer; `read` and
        `advance` to one, the reader; `wait`, `wake` and `counters` to any. `close` is called when
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
        """The directory."""
        return self._directory.path

    @property
    def node_id(self) -> str:
        """Whose losses the spool tells of; set it before the first period."""
        return self._writer.node_id

    @node_id.setter
    def node_id(self, node_id: str) -> None:
        self._writer.node_id = node_id

    # -- the writer --------------------------------------------------------------------------------

    def begin(self, period: PeriodId) -> bool:
        """Begin to store a period. What an earlier `begin` left uncommitted is forgotten.

        Returns:
            Whether it is wanted; False: this epoch of the meter, or a later one, is committed.

        A directory that was removed is made again; what was in it is lost, counted and told.

        Raises:
            OSError: what a failed period left can not be cut off, or the directory not be made.
            ValueError: the meter's id has not 16 bytes.
        """
        if len(period.meter_id) != METER_ID_BYTES:
            raise ValueError(f"meter_id: expected {METER_ID_BYTES} bytes")
        return self._writer.begin(period)

    def append(self, payload: bytes, packets: int, n_bytes: int) -> None:
        """Take in a message of the period.

        Args:
            payload: a JSON object.
            packets: of its entries, 0 or more; reported if the message is lost.
            n_bytes: likewise.

        Raises:
            OSError: nothing of the period is stored, until the next `begin`.
            StateError: no period was begun.
        """
        self._writer.append(payload, packets, n_bytes)

    def commit(self) -> None:
        """Make what was taken in since `begin` durable, and visible to the reader.

        If something was lost, a record that tells of it goes in as well.

        Raises:
            OSError: nothing of the period is stored.
            StateError: no period was begun.
        """
        self._writer.commit()

    def abort(self) -> None:
        """Forget what was taken in since `begin`."""
        self._writer.abort()

    # -- the reader --------------------------------------------------------------------------------

    def read(self, max_records: int, max_bytes: int, overhead_bytes: int = 0) -> list[Record]:
        """Read what comes behind the cursor, which stays where it is.

        Args:
            max_records: at most so many.
            max_bytes: of their payloads, but one record always.
            overhead_bytes: what each record takes of that beside its payload.

        Returns:
            The records, the oldest first; empty: there is none.

        Raises:
            OSError: they can not be read now; it may be tried again.
        """
        return self._reader.read(max_records, max_bytes, overhead_bytes)

    def advance(
        self, to: Record | Position, note: bytes = b"", *, given_up: Iterable[Record] = ()
    ) -> None:
        """Make what was read up to there done with: durable before it returns.

        Args:
            to: the last record that is done with, or a position.
            note: at most 64 bytes that are stored with it, in one.
            given_up: those of these records that nobody will have: they count as lost.

        Raises:
            OSError: the cursor is where it was; it may be tried again.
            ValueError: the note is too long.
        """
        position = to if isinstance(to, Position) else to.position
        for record in given_up:
            skipped = position.skipped.plus(record.adds())
            position = replace(position, skipped=skipped)
        self._reader.advance(position, note)

    @property
    def position(self) -> Position:
        """Where the cursor is."""
        return self._ledger.cursor

    @property
    def note(self) -> bytes:
        """The note of the last `advance`."""
        return self._reader.note

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read, or for `wake`.

        Args:
            timeout_s: at most so long; None: no limit.

        Returns:
            Whether there is something to read.
        """
        ledger = self._ledger
        with ledger.changed:
            ledger.changed.wait_for(lambda: ledger.woken or ledger.pending() > 0, timeout_s)
            ledger.woken = False
            return ledger.pending() > 0

    def wake(self) -> None:
        """End a `wait`, this one or the next."""
        with self._ledger.changed:
            self._ledger.woken = True
            self._ledger.changed.notify_all()

    def wait_empty(self, timeout_s: float | None) -> bool:
        """Wait until nothing is pending; returns whether that is so."""
        ledger = self._ledger
        with ledger.changed:
            return ledger.changed.wait_for(lambda: ledger.pending() == 0, timeout_s)

    def counters(self) -> SpoolCounters:
        """How the spool stands."""
        ledger = self._ledger
        with ledger.changed:
            dropped = ledger.lost().since(self._lost_before).data
            size_bytes = ledger.size_bytes() + CURSOR_BYTES + SPARE_BYTES
            return SpoolCounters(ledger.pending(), size_bytes, ledger.age_s(), dropped)

    def close(self) -> None:
        """Forget what is not committed, and give up the directory. Closing twice is fine."""
        self._writer.close()
        self._reader.close()
        self._cursor.close()
        self._directory.close()
