"""Segments: what their head holds, and what is found in them when a spool is opened."""

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from netlog.spool.descriptor import read_at
from netlog.spool.place import NOTHING, TakenIn
from netlog.spool.record import Kind, find_commits, read_raw

__all__ = ["MAX_METERS", "Head", "Scan", "Segment", "remember", "scan"]

MAX_METERS = 64
"""How many meters' last epochs a spool knows. A daemon makes a meter at each start, so only the
last few meters can still offer a period."""
MAGIC = b"nlspool\x1a"
VERSION = 1
FIXED = struct.Struct("<8sIIQQ7QBxH4x")
"""MAGIC, version, crc32, number, created_ns, totals, clean, number of meters."""
CHECKED_FROM = 16
METER = struct.Struct("<16sQ")


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


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a segment: everything that is needed when the earlier segments are gone.

    Attributes:
        number: the segment's.
        created_ns: since the epoch.
        start: the totals at its first record.
        clean: whether everything before it is committed; False: it was made during a transaction.
        meters: the last committed epoch by meter id.
    """

    number: int
    created_ns: int
    start: TakenIn
    clean: bool
    meters: Mapping[bytes, int]

    def encode(self) -> bytes:
        """Return its bytes."""
        meters = b"".join(METER.pack(*meter) for meter in self.meters.items())
        fields = (self.number, self.created_ns, *self.start, self.clean, len(self.meters))
        checked = FIXED.pack(MAGIC, VERSION, 0, *fields)[CHECKED_FROM:] + meters
        return FIXED.pack(MAGIC, VERSION, zlib.crc32(checked), *fields) + meters

    @classmethod
    def read(cls, fd: int, number: int) -> "tuple[Head, int] | None":
        """Read the head of a segment.

        Args:
            fd: of the segment.
            number: the one in its name.

        Returns:
            The head, and the offset after it; None: it is damaged.

        Raises:
            ValueError: it is of another version.
            OSError: it cannot be read.
        """
        data = read_at(fd, FIXED.size + MAX_METERS * METER.size, 0)
        if len(data) < FIXED.size:
            return None
        magic, version, crc, named, created_ns, *totals, clean, n = FIXED.unpack_from(data)
        if magic != MAGIC:
            return None
        if version != VERSION:
            raise ValueError(f"made by another version of netlog (format {version})")
        end = FIXED.size + n * METER.size
        if n > MAX_METERS or len(data) < end or crc != zlib.crc32(data[CHECKED_FROM:end]):
            return None
        if named != number:
            return None
        meters = dict(METER.iter_unpack(data[FIXED.size : end]))
        return cls(number, created_ns, TakenIn(*totals), bool(clean), meters), end


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
        beyond: the totals of the last commit after damage; None: there is none.
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
        OSError: it cannot be read.
    """
    size = os.fstat(fd).st_size
    found = Head.read(fd, number)
    seen = Scan(None, size)
    if found is not None:
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


def remember(meters: dict[bytes, int], meter_id: bytes, epoch: int) -> None:
    """Store the meter's last epoch; beyond MAX_METERS, forget the least recently stored meter."""
    meters.pop(meter_id, None)
    meters[meter_id] = epoch
    while len(meters) > MAX_METERS:
        del meters[next(iter(meters))]
