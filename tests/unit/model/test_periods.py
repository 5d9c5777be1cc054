"""Periods last as long as time does, whatever the wall clock does."""

import itertools

import pytest

from netlog.model.periods import Period, PeriodClock

S = 1_000_000_000


class Clocks:
    """A wall clock that can be stepped, and elapsed time that cannot."""

    def __init__(self) -> None:
        self.wall = 1_000 * S
        self.elapsed = 7 * S

    def advance(self, ns: int) -> None:
        """Let time pass on both."""
        self.wall += ns
        self.elapsed += ns


@pytest.fixture
def clocks() -> Clocks:
    """Both clocks, at rest."""
    return Clocks()


def periods(clocks: Clocks, steps: list[int]) -> list[tuple[int, int]]:
    """Poll every 5 s; before the poll number i the wall clock is stepped by steps[i] seconds."""
    clock = PeriodClock(lambda: clocks.wall, lambda: clocks.elapsed)
    ended = []
    for step in steps:
        clocks.advance(5 * S)
        clocks.wall += step * S
        period = clock.end_period()
        ended.append((period.start_ns, period.end_ns))
    return ended


@pytest.mark.parametrize(
    "steps",
    [[0] * 5, [0, 3600, 0, 0], [0, -3600, 0, 0, 0], [-1, 1, -1, 1], [-7, 0, 0, 0, 0, 0]],
    ids=["steady", "forward", "back an hour", "there and back", "back beyond the period"],
)
def test_periods_are_as_long_as_the_time_that_passed(clocks: Clocks, steps: list[int]) -> None:
    """They tile, but where the clock was stepped: there the next one begins at its new time."""
    ended = periods(clocks, steps)
    assert ended[0][0] == 1_000 * S
    for start, end in ended:
        assert end - start in (5 * S, 5 * S - 1)
    for ((_, end), (start, _)), step in zip(itertools.pairwise(ended), steps, strict=False):
        assert abs(start - (end + step * S)) <= 1
        assert step or start == end + 1


@pytest.mark.parametrize("slew", [1_000_000, -1_000_000, 90_000_000, -90_000_000])
def test_a_clock_that_is_slewed_is_followed(clocks: Clocks, slew: int) -> None:
    """Small differences are no steps: periods tile, and end at the wall's time."""
    clock = PeriodClock(lambda: clocks.wall, lambda: clocks.elapsed)
    before = clock.start_ns - 1
    for _ in range(100):
        clocks.advance(S)
        clocks.wall += slew
        period = clock.end_period()
        assert (period.start_ns, period.end_ns) == (before + 1, clocks.wall)
        assert clock.stepped_ns == 0
        before = period.end_ns


def test_short_periods_after_a_step_back_are_right_at_once() -> None:
    """An hour back under periods of a second costs no period its length."""
    clocks = Clocks()
    clock = PeriodClock(lambda: clocks.wall, lambda: clocks.elapsed)
    clocks.wall -= 3600 * S
    for number in range(10):
        clocks.advance(S)
        period = clock.end_period()
        assert period.end_ns - period.start_ns in (S, S - 1)
        assert (clock.stepped_ns != 0) == (number == 0)
    assert period.end_ns == clocks.wall


def test_after_a_reboot_the_wall_clock_decides(clocks: Clocks) -> None:
    """The time since the boot says nothing of the time before it."""
    last = Period(990 * S, 995 * S, 500 * S)
    clock = PeriodClock(lambda: clocks.wall, lambda: clocks.elapsed, last)
    assert clock.end_period() == Period(995 * S + 1, 1_000 * S, 7 * S)
    assert clock.stepped_ns == 0


def test_steady_clock_gives_wall_time() -> None:
    """Without steps the periods are what the wall clock says."""
    clocks = Clocks()
    assert periods(clocks, [0, 0]) == [
        (1_000 * S, 1_005 * S),
        (1_005 * S + 1, 1_010 * S),
    ]
