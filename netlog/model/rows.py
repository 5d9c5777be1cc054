"""The rows of an observation point, in slices: the memory of a poll does not grow with the rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from netlog.model.flows import FlowArray

__all__ = ["COUNTS", "SLICE_ROWS", "RowSums", "Rows", "Slice"]

COUNTS = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
SLICE_ROWS = 1 << 16
"""Rows in a slice: 4.5 MiB, which become the text of about 20 messages."""

Slice: TypeAlias = tuple[FlowArray, bool]
"""Some rows, and whether they are the last ones. The rows are FLOW_DTYPE, shape (n,), and valid
until the next slice is requested. The last slice may be empty."""


@dataclass(frozen=True, slots=True)
class RowSums:
    """The number of rows, and the sums of tx_packets, tx_bytes, rx_packets and rx_bytes."""

    count: int
    sums: dict[str, int]


class Rows:
    """The rows of a period at one observation point. They can be iterated several times.

    Args:
        begin: starts an iteration over all slices; exactly the final one is marked as the last.

    Thread safety: one thread.
    """

    def __init__(self, begin: Callable[[], Iterator[Slice]]) -> None:
        self._totals: RowSums | None = None
        self._begin = begin

    def __iter__(self) -> Iterator[Slice]:
        """Iterate over all slices, from the first one."""
        count, sums = 0, dict.fromkeys(COUNTS, 0)
        for rows, last in self._begin():
            count += len(rows)
            for name in COUNTS:
                sums[name] += int(rows[name].sum(dtype=np.uint64))
            if last:
                # Set before the yield: callers do not resume this iterator after the last slice.
                self._totals = RowSums(count, sums)
            yield rows, last

    def counted(self) -> RowSums:
        """The number of rows and their sums. This iterates the rows, unless it was done before."""
        if self._totals is None:
            for _ in self:
                pass
        assert self._totals is not None  # noqa: S101 - one slice is the last
        return self._totals

    @classmethod
    def of(cls, array: FlowArray) -> "Rows":
        """The rows of an array: FLOW_DTYPE, shape (n,)."""

        def begin() -> Iterator[Slice]:
            for start in range(0, len(array) or 1, SLICE_ROWS):
                yield array[start : start + SLICE_ROWS], start + SLICE_ROWS >= len(array)

        return cls(begin)

    def with_row(self, row: FlowArray) -> "Rows":
        """These rows, and `row` after the last one. `row`: FLOW_DTYPE, shape (1,); (0,): no row."""
        if not len(row):
            return self

        def begin() -> Iterator[Slice]:
            for rows, last in self._begin():
                yield np.concatenate((rows, row)) if last else rows, last

        return Rows(begin)
