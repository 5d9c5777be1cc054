"""Where something lies in a spool, and how much came before it."""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

from netlog.model.loss import Loss

__all__ = ["NOTHING", "Position", "TakenIn"]


class TakenIn(NamedTuple):
    """All that a spool ever took in before some place.

    The numbers only grow, so the difference of two places tells what lies between them, also when
    the files between them are gone: what was lost is reckoned from this, never remembered.

    Attributes:
        records: messages and tellings of loss.
        messages: messages, with the `packets` and `n_bytes` of their entries.
        told_messages: the loss that records tell of, likewise with its packets and bytes.
    """

    records: int = 0
    messages: int = 0
    packets: int = 0
    n_bytes: int = 0
    told_messages: int = 0
    told_packets: int = 0
    told_bytes: int = 0

    def plus(self, other: Self) -> "TakenIn":
        """Both together."""
        return TakenIn(*(a + b for a, b in zip(self, other, strict=True)))

    def since(self, other: Self) -> "TakenIn":
        """What came after `other`; 0 where that is the later place."""
        return TakenIn(*(max(0, a - b) for a, b in zip(self, other, strict=True)))

    def later(self, other: Self) -> "TakenIn":
        """The later of two places."""
        return TakenIn(*map(max, zip(self, other, strict=True)))

    @property
    def data(self) -> Loss:
        """The messages, as they are reported if they are lost."""
        return Loss(self.messages, self.packets, self.n_bytes)

    @property
    def told(self) -> Loss:
        """The loss that was told of."""
        return Loss(self.told_messages, self.told_packets, self.told_bytes)


NOTHING = TakenIn()


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two records.

    Attributes:
        segment: number of the segment; 0: before the first one.
        offset: in it, in bytes.
        totals: what came before.
        skipped: the part of that which a reader came past without seeing it, since it was lost.
    """

    segment: int = 0
    offset: int = 0
    totals: TakenIn = field(default=NOTHING)
    skipped: TakenIn = field(default=NOTHING)
