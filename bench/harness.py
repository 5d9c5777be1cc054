"""How a bench measures: in turns with its floor or peer, round by round; medians, and their ratio.

The machine has other users. What they do to a round they also do to the neighbouring round of the
other side. So the ratio of medians from one run is meaningful where a time alone is not.
"""

import math
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import SEED
from bench.peers import tool, tool_or_skip

__all__ = [
    "COMMAND",
    "QUICK",
    "ROUNDS",
    "Budget",
    "Row",
    "Turns",
    "curve",
    "interval",
    "rounds_of",
    "tool",
    "tool_or_skip",
]

ROUNDS = 11
QUICK_ROUNDS = 2
SIDES = ("rounds", "beside_rounds")

# `python -m bench` puts its own command line here, for the JSON.
COMMAND = "NETLOG_BENCH_COMMAND"

QUICK = "NETLOG_BENCH_QUICK"
"""Set if a run only tries whether everything works: no bench then has more than two rounds."""


def rounds_of(rounds: int) -> int:
    """Return how many rounds to measure: `rounds`, or fewer in a quick run."""
    return min(rounds, QUICK_ROUNDS) if os.environ.get(QUICK) else rounds


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the median, with 95 % confidence, for any distribution.

    Args:
        values: at least one. For fewer than six no such interval is known: it is all of them.

    Returns:
        Two of the values: the order statistics that enclose the median by the binomial's normal
        approximation.
    """
    ordered = sorted(values)
    beyond = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
    beyond = max(0, beyond - 1) if len(ordered) >= 6 else 0
    return ordered[beyond], ordered[len(ordered) - 1 - beyond]


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit from the design: on the ratio (`x`) or on the measured figure itself (its unit)."""

    sign: str  # "<=" or ">="
    limit: float
    unit: str = "x"

    def holds(self, row: "Row") -> bool:
        """Return whether the row keeps the budget."""
        value = row.ratio if self.unit == "x" else row.measured
        if value is None:
            return False
        return value <= self.limit if self.sign == "<=" else value >= self.limit

    def __str__(self) -> str:
        """Return the budget as the table prints it."""
        return f"{self.sign} {self.limit:g}{'' if self.unit == 'x' else ' '}{self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that `python -m bench` prints."""

    name: str
    measured: float
    unit: str
    beside: float | None = None
    beside_name: str = ""
    ratio: float | None = None
    budget: Budget | None = None

    def save(self, benchmark: Any) -> None:  # noqa: ANN401 - pytest-benchmark has no types
        """Save the row in the benchmark's JSON."""
        benchmark.extra_info.update(
            row=self.name,
            measured=self.measured,
            unit=self.unit,
            beside=self.beside,
            beside_name=self.beside_name,
            ratio=self.ratio,
            budget=str(self.budget) if self.budget else None,
            ok=self.budget.holds(self) if self.budget else None,
            seed=SEED,
            command=os.environ.get(COMMAND) or " ".join(["pytest", *sys.argv[1:]]),
        )


def curve(benchmark: Any, name: str, x: int, measured: str, beside: str) -> None:  # noqa: ANN401
    """Mark a row as a point of curves.

    Args:
        benchmark: pytest-benchmark's fixture.
        name: of the figure.
        x: the number of connections.
        measured: the curve of the measured value; empty: none.
        beside: the curve of the value beside it; empty: none.
    """
    benchmark.extra_info["curve"] = {"figure": name, "x": x, "measured": measured, "beside": beside}


@dataclass(slots=True)
class Turns:
    """A measured thing and its floor or peer, in turns."""

    benchmark: Any
    measured: Callable[[], float]
    beside: Callable[[], float]
    prepare: Callable[[int], None] | None = None  # untimed, before each; gets the round's number

    def _prepare(self, number: int) -> None:
        if self.prepare:
            self.prepare(number)

    def medians(self, rounds: int = ROUNDS) -> tuple[float, float]:
        """Run the rounds; return both medians, in the unit that the two callables return."""
        measured: list[float] = []
        beside: list[float] = []

        def turn() -> None:
            number = len(beside)
            self._prepare(number)
            beside.append(self.beside())
            self._prepare(number)

        def target() -> None:
            measured.append(self.measured())

        self.benchmark.pedantic(target, setup=turn, rounds=rounds_of(rounds), iterations=1)
        # Keep every round, so that readers can check the medians.
        self.benchmark.extra_info.update(rounds=measured, beside_rounds=beside)
        return statistics.median(measured), statistics.median(beside)

    def row(
        self,
        name: str,
        beside_name: str,
        budget: Budget | None = None,
        *,
        unit: str = "ns",
        inverse: bool = False,
        rounds: int = ROUNDS,
    ) -> Row:
        """Run the rounds and save the row; the ratio is measured / beside, or its inverse."""
        measured, beside = self.medians(rounds)
        ratio = beside / measured if inverse else measured / beside
        info = self.benchmark.extra_info
        pairs = [ours / theirs for ours, theirs in zip(*(info[of] for of in SIDES), strict=True)]
        info["ratio_interval"] = interval([1 / pair for pair in pairs] if inverse else pairs)
        quiet = [statistics.quantiles(info[of], n=4)[0] for of in SIDES]
        info["ratio_of_first_quartiles"] = (quiet[1] / quiet[0]) if inverse else quiet[0] / quiet[1]
        row = Row(name, measured, unit, beside, beside_name, ratio, budget)
        row.save(self.benchmark)
        return row
