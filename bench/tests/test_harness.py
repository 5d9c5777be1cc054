"""How a bench measures: rounds by turns, medians, intervals, budgets."""

import random
import statistics
from typing import Any

import pytest

from bench.harness import QUICK, Budget, Turns, interval
from bench.windows import alternate, save


class Benchmark:
    """As much of pytest-benchmark's fixture as a row needs."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, target: Any, setup: Any = None, rounds: int = 1, **_: Any) -> None:  # noqa: ANN401
        """Run the rounds."""
        for _number in range(rounds):
            if setup:
                setup()
            target()


def test_turns_alternate() -> None:
    """In each round what stands beside comes first; both get what was prepared for the round."""
    order: list[str] = []
    fixture = Benchmark()

    def said(what: str, value: float) -> float:
        order.append(what)
        return value

    turns = Turns(
        fixture, lambda: said("m", 3.0), lambda: said("b", 2.0), lambda n: order.append(str(n))
    )
    turns.row("name", "floor", Budget("<=", 1.5), rounds=2)
    assert order == ["0", "b", "0", "m", "1", "b", "1", "m"]
    info = fixture.extra_info
    assert (info["measured"], info["beside"], info["ratio"], info["ok"]) == (3, 2, 1.5, True)
    assert info["ratio_interval"] == (1.5, 1.5)


def test_the_inverse_of_a_ratio() -> None:
    """Against a peer the ratio, its interval and that of the quieter rounds say how much faster."""
    fixture = Benchmark()
    Turns(fixture, lambda: 2.0, lambda: 10.0).row("n", "peer", Budget(">=", 6), inverse=True)
    info = fixture.extra_info
    assert info["ratio"] == info["ratio_of_first_quartiles"] == info["ratio_interval"][0] == 5
    assert info["ok"] is False


def test_a_trial_has_two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --quick everything is measured twice, and no more."""
    monkeypatch.setenv(QUICK, "1")
    fixture = Benchmark()
    Turns(fixture, lambda: 2.0, lambda: 1.0).row("n", "floor")
    assert len(fixture.extra_info["rounds"]) == len(fixture.extra_info["beside_rounds"]) == 2


@pytest.mark.parametrize("n", [6, 7, 11, 61, 201])
def test_the_interval_holds_the_median(n: int) -> None:
    """It holds the distribution's median in 93 of 100 samples at least, and is not all of them."""
    source = random.Random(n)  # noqa: S311 - not for secrets
    hits, width = 0, 0.0
    for _ in range(2000):
        values = [source.lognormvariate(0, 1) for _ in range(n)]
        low, high = interval(values)
        assert low <= statistics.median(values) <= high
        hits += low <= 1 <= high
        width += (values_between(values, low, high) - 1) / n / 2000
    assert hits >= 1860
    assert width < 1 if n < 11 else width < 4 / n**0.5


def values_between(values: list[float], low: float, high: float) -> int:
    """How many values the interval has."""
    return sum(low <= value <= high for value in values)


def test_few_values_have_no_interval_but_all() -> None:
    """Of less than six values the interval is all of them."""
    assert interval([3.0]) == (3, 3)
    assert interval([5.0, 1, 4, 2, 3]) == (1, 5)


def test_windows_are_compared_with_their_neighbours() -> None:
    """The ratio is the median of those of neighbours, not that of the medians."""
    fixture = Benchmark()
    save(fixture, "relay", "k/s", [9.0, 1, 30], [10.0, 2, 3], scale=10)
    info = fixture.extra_info
    assert (info["measured"], info["beside"], info["ratio"]) == (0.9, 0.3, 0.9)


class Drifting:
    """Relays on a machine that gets slower and slower; metering takes a hundredth."""

    def __init__(self) -> None:
        self.speed, self.enabled = 1000.0, False
        self.order: list[bool] = []

    def meter(self, *, enabled: bool) -> None:
        """Switch."""
        self.enabled = enabled
        self.order.append(enabled)

    def window(self) -> tuple[float, float]:
        """What arrives, and what it takes."""
        self.speed *= 0.97
        rate = self.speed * (0.99 if self.enabled else 1)
        return rate, 1 / rate


def test_windows_of_neighbours_do_not_drift() -> None:
    """Where the machine slows down all the time the ratio is still what metering takes."""
    path, fixture = Drifting(), Benchmark()
    metered, plain = alternate(path, 40, 0)
    assert path.order[:4] == [False, True, True, False]
    save(fixture, "relay", "k/s", metered.rates, plain.rates, Budget(">=", 0.98))
    assert fixture.extra_info["windows"] == 40
    low, high = fixture.extra_info["ratio_interval"]
    assert 0.97 * 0.99 * 0.99 < low < 0.99 < high < 0.99 / 0.97 * 1.01
    assert fixture.extra_info["ratio"] == pytest.approx(0.99, abs=0.002)
