"""A place in a spool, and how much was taken in before it."""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

from netlog.model.loss import Loss

__all__ = ["MAX_COUNT", "NOTHING", "Position", "TakenIn"]

MAX_COUNT = (1 << 64) - 1
"""The greatest number that files hold. A greater sum stays there, whatever a damaged meter gave."""


class TakenIn(NamedTuple):
    """Everything that a spool took in before a place.

    The numbers only grow. So the difference between two places tells what lies between them, even
    when the files between them are gone. Losses are computed from this and never stored.

    Attributes:
        records: messages and loss reports.
        messages: messages; `packets` and `n_bytes` are the sums of their entries.
        told_messages: messages whose loss was reported, with their `told_packets` and `told_bytes`.
    """

    records: int = 0
    messages: int = 0
    packets: int = 0
    n_bytes: int = 0
    told_messages: int = 0
    told_packets: int = 0
    told_bytes: int = 0

    def plus(self, other: Self) -> "TakenIn":
        """Return the sum of both."""
        return TakenIn(*(min(a + b, MAX_COUNT) for a, b in zip(self, other, strict=True)))

    def since(self, other: Self) -> "TakenIn":
        """Return what came after `other`; a number that is greater there gives 0."""
        return TakenIn(*(max(0, a - b) for a, b in zip(self, other, strict=True)))

    def later(self, other: Self) -> "TakenIn":
        """Return the later of two places."""
        return TakenIn(*map(max, zip(self, other, strict=True)))

    @property
    def data(self) -> Loss:
        """The messages, as they are reported if they are lost."""
        return Loss(self.messages, self.packets, self.n_bytes)

    @property
    def told(self) -> Loss:
        """The loss that was reported."""
        return Loss(self.told_messages, self.told_packets, self.told_bytes)


NOTHING = TakenIn()


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two records.

    Attributes:
        segment: number of the segment; 0: before the first one.
        offset: in the segment, in bytes.
        totals: what was taken in before this place.
        skipped: the part of `totals` that the reader passed without seeing it, because it was lost.
    """

    segment: int = 0
    offset: int = 0
    totals: TakenIn = field(default=NOTHING)
    skipped: TakenIn = field(default=NOTHING)
