"""What is in a spool, shared by its writer and its reader."""

import threading
import time
from collections.abc import Iterator

from netlog.model.loss import Loss
from netlog.spool.place import NOTHING, Position, TakenIn
from netlog.spool.segment import Segment

__all__ = ["Ledger"]


class Ledger:
    """The segments, the end of the committed records, and the reader's position.

    The loss is not stored anywhere. It is computed: what the totals say was taken in, minus what is
    still there or was read. So no crash forgets it, and nothing needs to be written before a
    segment is removed.

    Attributes:
        changed: guards everything here; notified when there is more to read, and on `wake`.
        segments: by number, in order; the last ones may not be committed yet.
        committed: number of the segment with the last commit; 0: there is none.
        end: the totals at the last commit.
        cursor: the saved position of the reader.
        in_hand: the end of what the reader has read and neither passed nor released; None: nothing.
            Its outcome decides whether it is lost, not whether its segment is still there.
        oldest_ns: when the record at the cursor was taken in; None: unknown.

    Thread safety: hold `changed`, also for the methods.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.segments: dict[int, Segment] = {}
        self.committed = 0
        self.end: TakenIn = NOTHING
        self.cursor = Position()
        self.in_hand: Position | None = None
        self.oldest_ns: int | None = None
        self.woken = False

    def readable(self) -> Iterator[Segment]:
        """Yield the segments that hold committed records."""
        return (found for found in self.segments.values() if found.number <= self.committed)

    def lost(self) -> TakenIn:
        """Return the loss since the spool was made: taken in, never read, and no longer there."""
        read = self.in_hand or self.cursor
        lost, at = read.skipped, read.totals
        for segment in self.readable():
            lost = lost.plus(segment.start.since(at))
            at = at.later(segment.end)
        return lost.plus(self.end.since(at))

    def untold(self) -> Loss:
        """Return the part of the loss that no committed record reports.

        If a record that reports a loss is lost itself, it is part of the loss and is reported
        again.
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
        """Return how many records are there and were not read."""
        between = self.end.since(self.cursor.totals).records
        return max(0, between - self.lost().since(self.cursor.skipped).records)

    def to_drop(self, before: int) -> Segment | None:
        """Return the segment that a full spool drops next: the oldest, but one in hand last.

        Args:
            before: only segments with a smaller number may be dropped.

        Returns:
            The segment; None: there is none to drop.
        """
        older = [segment for number, segment in self.segments.items() if number < before]
        in_hand = self.in_hand.segment if self.in_hand else 0
        free = (segment for segment in older if segment.number > in_hand)
        return next(free, older[0] if older else None)

    def size_bytes(self) -> int:
        """Return how much disk space the segments take."""
        return sum(segment.size_bytes for segment in self.segments.values())

    def age_s(self) -> float:
        """Return how long the oldest pending record has been there; 0.0: there is none."""
        if not self.pending():
            return 0.0
        since_ns = self.oldest_ns
        if since_ns is None:
            since_ns = next((segment.created_ns for segment in self.readable()), time.time_ns())
        return max(0, time.time_ns() - since_ns) / 1e9
