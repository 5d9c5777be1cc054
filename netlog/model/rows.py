"""The rows of an observation point, some at a time: a poll's memory does not grow with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netlog.model.flows import FlowArray

__all__ = ["COUNTS", "SLICE_ROWS", "RowSums", "Rows", "Slice"]

COUNTS = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
SLICE_ROWS = 1 << 16
"""Of a slice: 4.5 MiB, and as much text as 20 messages."""

Slice: TypeAlias = tuple[FlowArray, bool]
"""Some rows, FLOW_DTYPE, shape (n,), good until the next slice is asked for; whether they are the
last, which may be none."""


@dataclass(frozen=True, slots=True)
class RowSums:
    """Of rows: how many, and tx_packets, tx_bytes, rx_packets, rx_bytes of all of them."""

    count: int
    sums: dict[str, int]


class Rows:
    """What was counted in a period at one observation point; may be gone through again.

    Args:
        begin: begins to go through them: slices, of which one is the last.

    Thread safety: one thread.
    """

    def __init__(self, begin: Callable[[], Iterator[Slice]]) -> None:
        self._totals: RowSums | None = None
        self._begin = begin

    def __iter__(self) -> Iterator[Slice]:
        """Go through them from the first one on."""
        count, sums = 0, dict.fromkeys(COUNTS, 0)
        for rows, last in self._begin():
            count += len(rows)
            for name in COUNTS:
                sums[name] += int(rows[name].sum(dtype=np.uint64))
            if last:
                # Here, as nobody asks for more than the last.
                self._totals = RowSums(count, sums)
            yield rows, last

    def counted(self) -> RowSums:
        """How many there are, and their sums; they are gone through unless they were."""
        if self._totals is None:
            for _ in self:
                pass
        assert self._totals is not None  # noqa: S101 - one slice is the last
        return self._totals

    @classmethod
    def of(cls, array: FlowArray) -> "Rows":
        """Those of an array: FLOW_DTYPE, shape (n,)."""

        def begin() -> Iterator[Slice]:
            for start in range(0, len(array) or 1, SLICE_ROWS):
                yield array[start : start + SLICE_ROWS], start + SLICE_ROWS >= len(array)

        return cls(begin)

    def with_row(self, row: FlowArray) -> "Rows":
        """These, and a further one behind the last: FLOW_DTYPE, shape (1,), or (0,) for none."""
        if not len(row):
            return self

        def begin() -> Iterator[Slice]:
            for rows, last in self._begin():
                yield np.concatenate((rows, row)) if last else rows, last

        return Rows(begin)
