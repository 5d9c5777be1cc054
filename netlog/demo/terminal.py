"""What the demo shows on a terminal. This module loads rich: import it only for a terminal."""

import itertools
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from netlog.demo.reconcile import COUNTS, Comparison, Verdict
from netlog.demo.table import NONE, NOTES, outcome, shown_rows, title
from netlog.demo.traffic import TrafficCounters
from netlog.display.terminal import CLASS_COLORS
from netlog.display.units import binary_size

__all__ = ["message_table", "verdict_table"]

MOST_COLUMNS = 112
"""A wider terminal leaves the rest empty: numbers stay near what they are about."""
LEAST_COLUMNS = 104
"""A narrower terminal has no room for packets beside bytes."""
WAYS = {"tx": "sent", "rx": "received"}


def message_table(message: Mapping[str, Any], columns: int) -> RenderableType:
    """A message. The columns of all messages are in line, and fit the terminal.

    Args:
        message: as read from its JSON text.
        columns: of the terminal.
    """
    table = Table(
        box=None,
        expand=True,
        width=min(columns, MOST_COLUMNS),
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    packets = columns >= LEAST_COLUMNS
    for name, width in (("class", 8), ("proto", 6)):
        table.add_column(name, width=width, no_wrap=True)
    for name in ("source", "destination"):
        table.add_column(name, ratio=1, overflow="fold")
    for name in ("sent", "received"):
        if packets:
            table.add_column(name, width=8, justify="right", no_wrap=True)
        table.add_column("" if packets else name, width=10, justify="right", no_wrap=True)
    for _, rows in itertools.groupby(shown_rows(message), lambda row: row.kind):
        for at, row in enumerate(rows):
            kind = Text("" if at else row.kind, _color(row.kind))
            cells = (cell for counts in (row.tx, row.rx) for cell in _cells(counts)[not packets :])
            table.add_row(kind, row.proto, row.src, row.dst, *cells)
    return Group(Text(title(message), "bold"), table, "")


def verdict_table(verdict: Verdict, traffic: TrafficCounters) -> RenderableType:
    """The comparison: what the messages add up to above what the kernel counted.

    Args:
        verdict: the comparison.
        traffic: what the demo's flows did.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("node", "at", "counted by"):
        table.add_column(name, no_wrap=True)
    for count in COUNTS:
        way, unit = count.split("_")
        table.add_column(f"{WAYS[way]} {unit}", justify="right")
    table.add_column("", no_wrap=True)
    n_counts = len(COUNTS)
    for at in range(0, len(verdict.lines), n_counts):
        lines = verdict.lines[at : at + n_counts]
        first, agree = lines[0], all(line.agrees for line in lines)
        mark = Text("equal", "green") if agree else Text("DIFFERENT", "bold red")
        table.add_row(first.node, first.point, "netlog", *map(_metered, lines), "")
        table.add_row("", "", "the kernel", *map(_kernel, lines), mark)
    style = "bold green" if verdict.reconciled else "bold red"
    return Group(
        Text("all messages, and the kernel's counters", "bold"),
        table,
        "",
        *(Text(line, "dim") for line in NOTES),
        Text(_exchanges(traffic), "dim"),
        "",
        Text(outcome(verdict), style),
    )


def _metered(line: Comparison) -> Text:
    return Text(f"{line.metered:,}")


def _kernel(line: Comparison) -> Text:
    return Text(f"{line.kernel:,}", "" if line.agrees else "bold red")


def _exchanges(traffic: TrafficCounters) -> str:
    """What the flows did, by protocol."""
    done = (f"{count:,} {proto}" for proto, count in sorted(traffic.exchanged.items()))
    given_up = sum(traffic.given_up.values())
    return f"traffic: {', '.join(done) or 'no'} exchanges; {given_up} without an answer"


def _cells(counts: tuple[int, int]) -> tuple[str, str]:
    packets, n_bytes = counts
    return (f"{packets:,}", binary_size(n_bytes)) if packets else ("", NONE)


def _color(kind: str) -> str:
    """The colour of a class, as rich calls it: SGR 30 is its colour 0."""
    return f"color({int(CLASS_COLORS[kind]) - 30})"
