"""Relays with metering on and off in turns: what is seen in windows of either kind."""

import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.harness import Budget, Row

__all__ = ["Metered", "Windows", "alternate", "save"]


class Metered(Protocol):
    """Relays whose metering can be turned off."""

    def meter(self, *, enabled: bool) -> None:
        """Turn it on or off, at both ends."""

    def window(self) -> tuple[float, float]:
        """Look for a while: what arrives a second, and both relays' CPU time a packet, in ns."""
        ...


@dataclass
class Windows:
    """What was seen in the windows of one kind."""

    rates: list[float] = field(default_factory=list)
    costs_ns: list[float] = field(default_factory=list)


def alternate(path: Metered, rounds: int, settle_s: float) -> tuple[Windows, Windows]:
    """Windows with metering and without, each first in every other round."""
    metered, plain = Windows(), Windows()
    for number in range(rounds):
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
    """A row of the medians of both kinds; the ratio is metered / plain."""
    benchmark.pedantic(lambda: None, rounds=1)  # the fixture has measured
    benchmark.extra_info.update(rounds=metered, beside_rounds=plain)
    measured, beside = statistics.median(metered), statistics.median(plain)
    row = Row(
        name, measured / scale, unit, beside / scale, "metering off", measured / beside, budget
    )
    row.save(benchmark)
