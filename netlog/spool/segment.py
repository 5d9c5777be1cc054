"""Segments: what an open spool knows of them, and what is found in them when it is opened."""

import os
from dataclasses import dataclass, field

from netlog.spool.descriptor import read_at
from netlog.spool.head import MAX_HEAD_BYTES, Head, remember
from netlog.spool.place import NOTHING, TakenIn
from netlog.spool.record import Kind, find_commits, read_raw

__all__ = ["Scan", "Segment", "scan"]


@dataclass(slots=True)
class Segment:
    """A segment as an open spool knows it.

    Attributes:
        number: 1 or more; a later segment has a greater number.
        first_offset: of its first record.
        start: the totals at its first record.
        end_offset: where the readable part ends.
        end: the totals at `end_offset`.
        size_bytes: on disk.
        created_ns: when it was made, since the epoch.
        damaged: nothing can be appended, and what came after `end_offset` is lost.
    """

    number: int
    first_offset: int
    start: TakenIn
    end_offset: int
    end: TakenIn
    size_bytes: int
    created_ns: int
    damaged: bool = False


@dataclass(slots=True)
class Scan:
    """What was found in a segment.

    Attributes:
        head: None: it is damaged.
        size_bytes: of the file.
        first_offset: of the first record.
        end_offset: where the unbroken sequence of records ends.
        end: the totals at `end_offset`.
        commit_offset: after the last commit of that sequence, or at the first record of a clean
            segment; -1: there is none.
        commit: the totals at `commit_offset`.
        beyond: the totals of the last commit after damage, wherever that is known from; None: there
            is none.
        meters: the last epoch of each meter, from the head and from every commit.
    """

    head: Head | None
    size_bytes: int
    first_offset: int = 0
    end_offset: int = 0
    end: TakenIn = NOTHING
    commit_offset: int = -1
    commit: TakenIn = NOTHING
    beyond: TakenIn | None = None
    meters: dict[bytes, int] = field(default_factory=dict)


def scan(fd: int, number: int) -> Scan:
    """Read a segment from beginning to end.

    Args:
        fd: of the segment.
        number: the one in its name.

    Returns:
        What was found. Nothing counts that a checksum does not confirm.

    Raises:
        ValueError: it is of another version.
        OSError: it cannot be read, and not for a bad sector.
    """
    size = os.fstat(fd).st_size
    found = Head.decode(read_at(fd, MAX_HEAD_BYTES, 0))
    seen = Scan(None, size)
    if found is not None and found[0].number == number:
        seen.head, seen.first_offset = found
        seen.end_offset, seen.end = seen.first_offset, seen.head.start
        seen.meters.update(seen.head.meters)
        if seen.head.clean:
            seen.commit_offset, seen.commit = seen.end_offset, seen.end
        _follow(fd, number, seen)
    if seen.end_offset < size:
        # A torn write has no commit after it. A later commit proves corruption, not a torn write.
        for raw in find_commits(fd, number, seen.end_offset, size):
            period, seen.beyond = raw.commit()
            remember(seen.meters, period.meter_id, period.epoch)
    return seen


def _follow(fd: int, number: int, seen: Scan) -> None:
    """Follow the records as long as they are valid."""
    while (raw := read_raw(fd, number, seen.end_offset, seen.size_bytes)) is not None:
        seen.end_offset = raw.end_offset
        seen.end = seen.end.plus(raw.adds())
        if raw.kind == Kind.COMMIT:
            period, totals = raw.commit()
            seen.commit_offset, seen.commit = raw.end_offset, totals
            remember(seen.meters, period.meter_id, period.epoch)
