"""What is in a spool, shared by its writer and its reader."""

import threading
import time
from collections.abc import Iterator

from netlog.model.loss import Loss
from netlog.spool.place import NOTHING, Position, TakenIn
from netlog.spool.segment import Segment

__all__ = ["Ledger"]


class Ledger:
    """The segments, the end of what is committed, and the reader's position.

    What was lost is not remembered anywhere: it is what the totals say was taken in, less what is
    still there or was read. So no crash forgets it, and nothing needs to be written before a
    segment is removed.

    Attributes:
        changed: guards everything here; notified when there is more to read, and on `wake`.
        segments: by number, in order; the last ones may not be committed yet.
        committed: number of the segment with the last commit; 0: there is none.
        end: the totals there.
        cursor: the saved position of the reader.
        oldest_ns: when the record there was taken in; None: not known.

    Thread safety: hold `changed`, for the methods too.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.segments: dict[int, Segment] = {}
        self.committed = 0
        self.end: TakenIn = NOTHING
        self.cursor = Position()
        self.oldest_ns: int | None = None
        self.woken = False

    def readable(self) -> Iterator[Segment]:
        """The segments that hold something committed."""
        return (found for found in self.segments.values() if found.number <= self.committed)

    def lost(self) -> TakenIn:
        """What was taken in and is neither there nor was it read, since the spool was made."""
        lost, at = self.cursor.skipped, self.cursor.totals
        for segment in self.readable():
            lost = lost.plus(segment.start.since(at))
            at = at.later(segment.end)
        return lost.plus(self.end.since(at))

    def untold(self) -> Loss:
        """The part of the loss that no committed record tells of.

        A record that tells of a loss and is lost itself is part of the loss: it is told again.
        """
        lost = self.lost()
        told = self.end.told
        total = lost.data + lost.told
        return Loss(
            max(0, total.messages - told.messages),
            max(0, total.packets - told.packets),
            max(0, total.n_bytes - told.n_bytes),
        )

    def pending(self) -> int:
        """Records that are there and were not read."""
        between = self.end.since(self.cursor.totals).records
        return max(0, between - self.lost().since(self.cursor.skipped).records)

    def size_bytes(self) -> int:
        """What the segments take on disk."""
        return sum(segment.size_bytes for segment in self.segments.values())

    def age_s(self) -> float:
        """How long the oldest pending record has been there; 0.0: there is none."""
        if not self.pending():
            return 0.0
        since_ns = self.oldest_ns
        if since_ns is None:
            since_ns = next((segment.created_ns for segment in self.readable()), time.time_ns())
        return max(0, time.time_ns() - since_ns) / 1e9
