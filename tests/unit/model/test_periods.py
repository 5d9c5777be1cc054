"""Periods tile, whatever the clocks do."""

import itertools

import pytest

from netlog.model.periods import PeriodClock

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
def test_periods_tile(clocks: Clocks, steps: list[int]) -> None:
    """Each begins one nanosecond after the last one ended, and none ends before it began."""
    ended = periods(clocks, steps)
    assert ended[0][0] == 1_000 * S
    for start, end in ended:
        assert end >= start
    for (_, end), (start, _) in itertools.pairwise(ended):
        assert start == end + 1


def test_steady_clock_gives_wall_time() -> None:
    """Without steps the periods are what the wall clock says."""
    clocks = Clocks()
    assert periods(clocks, [0, 0]) == [
        (1_000 * S, 1_005 * S),
        (1_005 * S + 1, 1_010 * S),
    ]


def test_step_forward_lengthens_the_period() -> None:
    """The jump belongs to the period in which it happened."""
    clocks = Clocks()
    assert periods(clocks, [60])[0] == (1_000 * S, 1_065 * S)


def test_step_back_is_caught_up_with() -> None:
    """After a step back by 6 s the periods run at half pace until they are at the wall's time."""
    clocks = Clocks()
    ended = periods(clocks, [-6, 0, 0, 0, 0])
    assert ended[0][1] == 1_000 * S + 5 * S // 2
    assert ended[-1][1] == clocks.wall
