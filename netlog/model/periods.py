"""Poll periods that tile: each begins a nanosecond after the last one ended, whatever clocks do."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

__all__ = ["Period", "PeriodClock", "PeriodId"]


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class PeriodId:
    """What names a period's counts for ever, also after a crash.

    Attributes:
        meter_id: 16 random bytes of the meter that counted.
        epoch: number of the epoch. A later period of the same meter has a greater one.
    """

    meter_id: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Period:
    """A poll period.

    Attributes:
        start_ns: its first nanosecond, since the epoch of the wall clock.
        end_ns: its last one.
        ended_ns: when it ended, in nanoseconds of CLOCK_BOOTTIME.
    """

    start_ns: int
    end_ns: int
    ended_ns: int

    @classmethod
    def beginning(cls, start_ns: int | None = None) -> Self:
        """An empty period after which the next one begins now, or at `start_ns`."""
        start_ns = time.time_ns() if start_ns is None else start_ns
        return cls(start_ns, start_ns - 1, _boot_ns())


class PeriodClock:
    """Turns the wall clock into consecutive periods without gap or overlap.

    A wall clock that is stepped forward lengthens the period in which that happened. One that is
    stepped back would make the next period end before it began; periods then advance at half the
    pace of elapsed time until the wall clock has caught up, so they stay ordered and come back to
    the true time.

    Args:
        wall_ns: nanoseconds since the epoch; may be stepped.
        elapsed_ns: nanoseconds that never go back and count a suspend (CLOCK_BOOTTIME).
        last: the period that the first one follows, perhaps another process's; None: there is none.

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

    def end_period(self) -> Period:
        """End the current period now and begin the next one.

        Returns:
            The period that ended.
        """
        now_ns = self._elapsed_ns()
        # Below 0 after a reboot, if the last period was before it.
        elapsed_ns = max(now_ns - self._began_ns, 0)
        start_ns = self.start_ns
        end_ns = max(self._wall_ns(), start_ns + elapsed_ns // 2)
        self._began_ns = now_ns
        self.start_ns = end_ns + 1
        return Period(start_ns, end_ns, now_ns)
