"""The reading side of a spool: from the cursor on, past damaged or missing segments."""

import contextlib
import errno
import logging

from netlog.spool.cursor import MAX_NOTE_BYTES, CursorFile
from netlog.spool.descriptor import close_descriptor
from netlog.spool.directory import SpoolDirectory
from netlog.spool.ledger import Ledger
from netlog.spool.place import Position
from netlog.spool.record import Kind, Raw, Record, read_raw
from netlog.spool.segment import Segment

__all__ = ["Reader"]

_log = logging.getLogger("netlog")


class Reader:
    """Reads committed records, and removes segments that were read.

    Args:
        directory: of the spool.
        ledger: of the spool.
        cursor: its file.

    Thread safety: one thread.
    """

    def __init__(self, directory: SpoolDirectory, ledger: Ledger, cursor: CursorFile) -> None:
        self._directory = directory
        self._ledger = ledger
        self._cursor = cursor
        self._fd = -1
        self._opened = 0

    @property
    def note(self) -> bytes:
        """See `Spool.note`."""
        return self._cursor.note

    def read(
        self, max_records: int, max_bytes: int, overhead_bytes: int, *, across_segments: bool
    ) -> list[Record]:
        """See `Spool.read`."""
        try:
            while True:
                records = self._read(max_records, max_bytes, overhead_bytes, across_segments)
                if self._take(records):
                    return records
        finally:
            # A removed segment keeps its disk space while it is open, so do not leave it open.
            self.close()

    def _take(self, records: list[Record]) -> bool:
        """Note that records are in hand; False: some were dropped while they were read."""
        numbers = {record.position.segment for record in records}
        with self._ledger.changed:
            if not numbers <= self._ledger.segments.keys():
                return False  # They may be reported as lost already.
            self._ledger.in_hand = records[-1].position if records else None
            if records:
                self._ledger.oldest_ns = records[0].client_time_ns
            return True

    def _read(
        self,
        max_records: int,
        max_bytes: int,
        overhead_bytes: int,
        across_segments: bool,  # noqa: FBT001 - private
    ) -> list[Record]:
        records: list[Record] = []
        at: Position | None = self._ledger.cursor
        n_bytes = 0
        while at is not None and len(records) < max_records:
            at = self._enter(at)
            if at is None:
                break
            raw = self._read_one(at)
            if raw is None:
                continue
            totals = at.totals.plus(raw.adds())
            at = Position(at.segment, raw.end_offset, totals, at.skipped)
            if raw.kind == Kind.COMMIT:
                continue
            record = Record.of(raw, at)
            n_bytes += len(record.payload) + overhead_bytes
            other = bool(records) and at.segment != records[0].position.segment
            if records and (n_bytes > max_bytes or (other and not across_segments)):
                break
            records.append(record)
        return records

    def release(self) -> None:
        """See `Spool.release`."""
        with self._ledger.changed:
            self._ledger.in_hand = None

    def advance(self, position: Position, note: bytes) -> None:
        """See `Spool.advance`."""
        if len(note) > MAX_NOTE_BYTES:
            raise ValueError(f"note: at most {MAX_NOTE_BYTES} bytes, got {len(note)}")
        position = self._enter(position) or position
        self._cursor.save(position, note)
        # From here on nobody needs the earlier segments. If the process crashes now, recovery
        # removes them.
        with self._ledger.changed:
            self._ledger.cursor = position
            self._ledger.in_hand = None
            self._ledger.oldest_ns = None
            numbers = [found.number for found in self._ledger.readable()]
            done = [number for number in numbers if number < position.segment]
            for number in done:
                del self._ledger.segments[number]
            self._ledger.changed.notify_all()
        for number in done:
            # If a segment cannot be removed now, the next opening of the spool removes it.
            with contextlib.suppress(OSError):
                self._directory.remove_segment(number)

    def close(self) -> None:
        """Close the file that is being read."""
        fd, self._fd, self._opened = self._fd, -1, 0
        if fd >= 0:
            close_descriptor(fd)

    def _enter(self, at: Position) -> Position | None:
        """Return where the next record lies, at or after `at`; None: there is none yet."""
        with self._ledger.changed:
            for segment in self._ledger.readable():
                if segment.number < at.segment:
                    continue
                if segment.number > at.segment:
                    # The segments between them are gone: their records are lost.
                    skipped = at.skipped.plus(segment.start.since(at.totals))
                    totals = at.totals.later(segment.start)
                    at = Position(segment.number, segment.first_offset, totals, skipped)
                if at.offset < segment.end_offset:
                    return at
        return None

    def _read_one(self, at: Position) -> Raw | None:
        """Return the record there; None: it is damaged, and the rest of its segment is given up."""
        segment = self._ledger.segments.get(at.segment)
        if segment is None:
            return None
        try:
            raw = read_raw(self._file(at.segment), at.segment, at.offset, segment.end_offset)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise  # Taken for temporary. A segment that was removed counts as damaged.
            raw = None
        if raw is None:
            self._give_up(segment, at)
        return raw

    def _give_up(self, segment: Segment, at: Position) -> None:
        with self._ledger.changed:
            if segment.number not in self._ledger.segments:
                return  # The writer has dropped it meanwhile.
            segment.end_offset, segment.end, segment.damaged = at.offset, at.totals, True
        _log.warning(
            "spool %s: segment %d is damaged; the rest of its messages count as lost",
            self._directory.path,
            segment.number,
        )

    def _file(self, number: int) -> int:
        if self._opened != number:
            self.close()
            self._fd, self._opened = self._directory.open_segment(number), number
        return self._fd
