"""Find out what a spool holds when it is opened, and repair it."""

import logging
import os
from dataclasses import dataclass, field

from netlog.spool.cursor import CursorFile
from netlog.spool.descriptor import close_descriptor
from netlog.spool.directory import SpoolDirectory
from netlog.spool.head import MAX_HEAD_BYTES, Head, remember
from netlog.spool.ledger import Ledger
from netlog.spool.place import NOTHING, Position, TakenIn
from netlog.spool.segment import Scan, Segment, scan

__all__ = ["Found", "recover"]

_log = logging.getLogger("netlog")


@dataclass(slots=True)
class Found:
    """Where the writer continues.

    Attributes:
        active: number of the segment to append to; 0: a new one must be made.
        meters: the last committed epoch by meter id.
    """

    active: int = 0
    meters: dict[bytes, int] = field(default_factory=dict)


def recover(directory: SpoolDirectory, cursor: CursorFile, ledger: Ledger) -> Found:
    """Fill the ledger from the files; cut off what was not committed.

    If a crash interrupts this, running all of it again gives the same result: each step leaves the
    files in a state that allows it.

    Args:
        directory: of the spool.
        cursor: of its reader.
        ledger: an empty one.

    Returns:
        Where the writer continues.

    Raises:
        OSError: a file cannot be read or cut.
        ValueError: a segment is of another version.
    """
    scans = {number: _scan(directory, number) for number in directory.segments()}
    committed = _committed(directory)
    _drop_uncommitted(directory, scans, committed)
    _confirm(scans, committed)
    ledger.cursor = cursor.position or _begin_cursor(cursor, scans, committed)
    found = Found()
    at = ledger.cursor.totals
    for number, seen in scans.items():
        segment = _segment(number, seen, at)
        ledger.segments[number] = segment
        at = at.later(segment.end)
        for meter in seen.meters.items():
            remember(found.meters, *meter)
    for meter_id, epoch in committed.meters.items():
        if found.meters.get(meter_id, -1) < epoch:
            remember(found.meters, meter_id, epoch)
    _find_end(directory, scans, committed, ledger, found)
    _remove_done(directory, ledger)
    if damaged := [segment.number for segment in ledger.segments.values() if segment.damaged]:
        _log.warning(
            "spool %s: damaged segments: %s; what cannot be read counts as lost",
            directory.path,
            damaged,
        )
    if untold := ledger.untold():
        _log.warning(
            "spool %s: %d messages are gone; the next one that is stored reports the loss",
            directory.path,
            untold.messages,
        )
    return found


def _scan(directory: SpoolDirectory, number: int) -> Scan:
    fd = directory.open_segment(number)
    try:
        return scan(fd, number)
    except ValueError as error:
        raise ValueError(f"{directory.path}: segment {number}: {error}") from None
    finally:
        close_descriptor(fd)


def _committed(directory: SpoolDirectory) -> Head:
    """Return what the last commit said, as it was repeated; the beginning if that is unreadable.

    The file is not synced, so it may be older than the segments; it is never newer.
    """
    found = Head.decode(directory.read_committed(MAX_HEAD_BYTES))
    return found[0] if found else Head(0, 0, NOTHING, clean=True, meters={})


def _drop_uncommitted(directory: SpoolDirectory, scans: dict[int, Scan], committed: Head) -> None:
    """Remove the segments after the last commit, the last one first."""
    for number in reversed(list(scans)):
        seen = scans[number]
        if number <= committed.number or seen.beyond is not None or seen.commit_offset >= 0:
            return
        directory.remove_segment(number)
        del scans[number]


def _confirm(scans: dict[int, Scan], committed: Head) -> None:
    """Take it for damage, not for a torn write, that the last segment ends before the commit."""
    if not scans or max(scans) > committed.number:
        return
    seen = scans[max(scans)]
    here = seen.commit if seen.beyond is None else seen.beyond
    if seen.commit_offset < 0 or max(scans) < committed.number or _is_later(committed.start, here):
        seen.beyond = committed.start.later(here)


def _begin_cursor(cursor: CursorFile, scans: dict[int, Scan], committed: Head) -> Position:
    """Save the earliest position of a reader, for a cursor file without a valid one."""
    position = Position()
    if scans or committed.number:
        # The cursor is made before the first segment, so here it was damaged or removed.
        _log.warning("spool: the cursor was damaged; shipped messages may be sent again")
        end = committed.start
        if scans:
            last = scans[max(scans)]
            end = last.commit if last.beyond is None else last.beyond
        start = next((seen.head.start for seen in scans.values() if seen.head), end)
        # How much was lost before is not known any more: assume exactly what was reported.
        lost = TakenIn(0, end.told_messages, end.told_packets, end.told_bytes)
        position = Position(min(scans, default=committed.number + 1) - 1, 0, start, lost)
    cursor.save(position, b"")
    return position


def _segment(number: int, seen: Scan, at: TakenIn) -> Segment:
    """Return the segment as far as it can be read; without a head nothing of it can."""
    start, created_ns = (seen.head.start, seen.head.created_ns) if seen.head else (at, 0)
    end = seen.end if seen.head else at
    damaged = seen.end_offset < seen.size_bytes
    return Segment(
        number,
        seen.first_offset,
        start,
        seen.end_offset,
        end,
        seen.size_bytes,
        created_ns,
        damaged,
    )


def _find_end(
    directory: SpoolDirectory,
    scans: dict[int, Scan],
    committed: Head,
    ledger: Ledger,
    found: Found,
) -> None:
    """Find the last commit, and cut off what lies after it."""
    position = ledger.cursor
    if not scans:
        # The segments were removed from outside, or there were none yet.
        ledger.committed = committed.number
        ledger.end = position.totals.later(committed.start)
        return
    number = max(scans)
    seen, segment = scans[number], ledger.segments[number]
    ledger.committed = max(number, committed.number)
    if seen.beyond is not None:
        ledger.end = seen.beyond
    else:
        if seen.size_bytes > seen.commit_offset and not committed.number:
            _log.warning(
                "spool %s: cut off %d bytes after the last commit: "
                "a period that was not stored completely, or damage",
                directory.path,
                seen.size_bytes - seen.commit_offset,
            )
        _cut(directory, number, seen)
        segment.size_bytes = segment.end_offset = seen.commit_offset
        segment.end = ledger.end = seen.commit
        segment.damaged = False
        found.active = number
    if _is_later(position.totals, ledger.end) or number < position.segment:
        # The reader has seen more than the files hold now. New records must not lie before its
        # position, so they go to a new segment.
        ledger.end = ledger.end.later(position.totals)
        found.active = 0


def _is_later(place: TakenIn, other: TakenIn) -> bool:
    """Return whether one place lies after the other, in any of its numbers."""
    return other.later(place) != other


def _cut(directory: SpoolDirectory, number: int, seen: Scan) -> None:
    if seen.size_bytes == seen.commit_offset:
        return
    fd = directory.open_segment(number)
    try:
        os.ftruncate(fd, seen.commit_offset)
    finally:
        close_descriptor(fd)


def _remove_done(directory: SpoolDirectory, ledger: Ledger) -> None:
    """Remove segments that the reader has left, but never the last one, which knows the meters."""
    for number in list(ledger.segments)[:-1]:
        if number < ledger.cursor.segment:
            directory.remove_segment(number)
            del ledger.segments[number]
