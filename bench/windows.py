"""Relays with metering on and off in turns, measured in many short windows of either kind.

Most disturbances last longer than a window, and so hit two neighbouring windows alike. So the ratio
is taken between neighbours. A row has the median of these ratios, with its confidence interval.
"""

import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.harness import Budget, Row, interval, rounds_of

__all__ = ["Metered", "Windows", "alternate", "save"]


class Metered(Protocol):
    """Relays whose metering can be turned off."""

    def meter(self, *, enabled: bool) -> None:
        """Switch metering on or off, at both ends."""

    def window(self) -> tuple[float, float]:
        """Observe for a while; return what arrives a second, and both relays' CPU ns a packet."""
        ...


@dataclass
class Windows:
    """The measurements of the windows of one kind."""

    rates: list[float] = field(default_factory=list)
    costs_ns: list[float] = field(default_factory=list)


def alternate(path: Metered, rounds: int, settle_s: float) -> tuple[Windows, Windows]:
    """Measure windows with metering and without; which comes first alternates with the rounds.

    Args:
        path: the relays, with packets passing.
        rounds: windows of either kind.
        settle_s: wait between a switch and the window, in seconds.

    Returns:
        Those with metering, and those without; window i of both belongs to round i.
    """
    metered, plain = Windows(), Windows()
    for number in range(rounds_of(rounds)):
        kinds = [(True, metered), (False, plain)]
        for enabled, kind in kinds if number % 2 else reversed(kinds):
            path.meter(enabled=enabled)
            time.sleep(settle_s)
            rate, cost_ns = path.window()
            kind.rates.append(rate)
            kind.costs_ns.append(cost_ns)
    return metered, plain


def save(  # noqa: PLR0913 - a row's columns
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark has no types
    name: str,
    unit: str,
    metered: list[float],
    plain: list[float],
    budget: Budget | None = None,
    *,
    scale: float = 1,
) -> None:
    """Save a row: medians of both kinds, and the median ratio of neighbours, metered / plain."""
    benchmark.pedantic(lambda: None, rounds=1)  # the fixture has measured already
    ratios = [on / off for on, off in zip(metered, plain, strict=True)]
    benchmark.extra_info.update(
        rounds=metered, beside_rounds=plain, ratio_interval=interval(ratios), windows=len(ratios)
    )
    measured, beside = statistics.median(metered) / scale, statistics.median(plain) / scale
    ratio = statistics.median(ratios)
    Row(name, measured, unit, beside, "metering off", ratio, budget).save(benchmark)
