"""Poll periods: each begins 1 ns after the last one ends, unless the wall clock was stepped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

__all__ = ["Period", "PeriodClock", "PeriodId"]


MAX_NS = (1 << 63) - 1
"""The greatest time of the kernel's clocks, in nanoseconds: the year 2262."""


STEP_NS = 100_000_000
"""A greater difference of the clocks within a period is a step of the wall clock."""


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class PeriodId:
    """Identifies the counts of a period, even after a crash.

    Attributes:
        meter_id: 16 random bytes that identify the meter.
        epoch: the number of the epoch. A later period of the same meter has a greater number.
    """

    meter_id: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Period:
    """A poll period.

    Attributes:
        start_ns: its first nanosecond, in nanoseconds of the wall clock since 1970.
        end_ns: its last nanosecond, in the same unit.
        ended_ns: when it ended, in nanoseconds of CLOCK_BOOTTIME.
    """

    start_ns: int
    end_ns: int
    ended_ns: int

    @property
    def is_possible(self) -> bool:
        """Whether the numbers can be a period: in order, and of a time that clocks can show."""
        return 0 <= self.start_ns <= self.end_ns + 1 <= MAX_NS and 0 <= self.ended_ns <= MAX_NS

    @classmethod
    def beginning(cls, start_ns: int | None = None) -> Self:
        """An empty period, after which the next one begins at `start_ns`; None: now."""
        start_ns = time.time_ns() if start_ns is None else start_ns
        return cls(start_ns, start_ns - 1, _boot_ns())


class PeriodClock:
    """Turns the wall clock into consecutive periods, as long as the time that passed in them.

    Without steps, periods have no gap and no overlap. If the wall clock is stepped by more than
    STEP_NS, the period in which that happens ends after the time that passed, and the next one
    begins at the clock's new time. So rates stay right; at that place there is a gap, or the new
    periods overlap the old ones. Smaller differences, as of a clock that is slewed, go into the
    length of a period.

    Args:
        wall_ns: nanoseconds since 1970; the clock may be stepped.
        elapsed_ns: nanoseconds that never go back, and include time in suspend (CLOCK_BOOTTIME).
        last: the period before the first one, perhaps of another process; None: there is none.

    Thread safety: one thread.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed_ns: Callable[[], int] = _boot_ns,
        last: Period | None = None,
    ) -> None:
        self._wall_ns = wall_ns
        self._elapsed_ns = elapsed_ns
        self._began_ns = last.ended_ns if last else elapsed_ns()
        self.start_ns = last.end_ns + 1 if last else wall_ns()
        """The first nanosecond of the current period, inclusive."""
        self.stepped_ns = 0
        """By how much the wall clock was stepped in the last period; 0: it was not."""

    def end_period(self) -> Period:
        """End the current period now and begin the next one.

        Returns:
            The period that ended.
        """
        now_ns, wall_ns = self._elapsed_ns(), self._wall_ns()
        start_ns, rebooted = self.start_ns, now_ns < self._began_ns
        # After a reboot nobody knows how much time has passed: the wall clock decides.
        elapsed_ns = 0 if rebooted else now_ns - self._began_ns
        step_ns = wall_ns - (start_ns + elapsed_ns)
        self.stepped_ns = step_ns if abs(step_ns) > STEP_NS and not rebooted else 0
        self._began_ns = now_ns
        if self.stepped_ns:
            end_ns = start_ns + elapsed_ns
            self.start_ns = wall_ns
        else:
            end_ns = max(wall_ns, start_ns + elapsed_ns // 2)
            self.start_ns = end_ns + 1
        return Period(start_ns, end_ns, now_ns)
