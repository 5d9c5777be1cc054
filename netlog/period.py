"""Poll periods that tile: each begins a nanosecond after the last one ended, whatever clocks do."""

import time
from collections.abc import Callable

__all__ = ["PeriodClock"]


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class PeriodClock:
    """Turns the wall clock into consecutive periods without gap or overlap.

    A wall clock that is stepped forward lengthens the period in which that happened. One that is
    stepped back would make the next period end before it began; periods then advance at half the
    pace of elapsed time until the wall clock has caught up, so they stay ordered and come back to
    the true time.

    Args:
        wall_ns: nanoseconds since the epoch; may be stepped.
        elapsed_ns: nanoseconds that never go back and count a suspend (CLOCK_BOOTTIME).

    Thread safety: one thread.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed_ns: Callable[[], int] = _boot_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._elapsed_ns = elapsed_ns
        self._began_ns = elapsed_ns()
        self.start_ns = wall_ns()
        """The first nanosecond of the current period, inclusive."""

    def end_period(self) -> tuple[int, int]:
        """End the current period now and begin the next one.

        Returns:
            The ended period's first and last nanosecond, both inclusive.
        """
        now_ns = self._elapsed_ns()
        elapsed_ns = now_ns - self._began_ns
        start_ns = self.start_ns
        end_ns = max(self._wall_ns(), start_ns + elapsed_ns // 2)
        self._began_ns = now_ns
        self.start_ns = end_ns + 1
        return start_ns, end_ns
