"""The counters of a gateway and its sinks as tables. This module loads rich."""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from netlog.cli.counters import aside_lines, until_text, words
from netlog.display.console import open_console
from netlog.display.units import binary_size, plural
from netlog.gateways.counters import AnyCounters, ExecCounters, GatewayCounters, WatchCounters
from netlog.sinks.base import SinkCounters

if TYPE_CHECKING:
    from netlog.devices.tap import TapCounters
    from netlog.logger.logger import LoggerCounters
    from netlog.relay.relay import RelayCounters

__all__ = ["counter_tables", "print_tables"]

TROUBLE = "yellow"
NONE = "-"
SINGULAR = {
    "attempts": "attempt",
    "frames": "frame",
    "interfaces": "interface",
    "messages": "message",
    "packets": "packet",
    "periods": "period",
    "processes": "process",
    "times": "time",
}
ALWAYS = ("written", "waiting", "dropped")
"""Columns of the sinks that are there even if all of them are 0."""


class _Row(NamedTuple):
    """A counter: what it counts, how many, in which unit, and their bytes if they have any."""

    name: str
    number: int
    unit: str
    n_bytes: int | None = None
    trouble: bool = False


def print_tables(node_id: str, counters: AnyCounters, sinks: Mapping[str, SinkCounters]) -> None:
    """Print the counters of a gateway to standard error; see `counter_tables`."""
    open_console(sys.stderr).print(counter_tables(node_id, counters, sinks))


def counter_tables(
    node_id: str, counters: AnyCounters, sinks: Mapping[str, SinkCounters]
) -> RenderableType:
    """The counters of a gateway. A trouble that never happened has no row.

    Args:
        node_id: the gateway's node.
        counters: the gateway's.
        sinks: those of its sinks, by name.

    Returns:
        A table of what was counted, and one of the sinks.

    Thread safety: any thread.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("unit", style="dim", no_wrap=True)
    table.add_column("size", no_wrap=True)
    for row in _rows(counters):
        style = TROUBLE if row.trouble else None
        unit = SINGULAR.get(row.unit, row.unit) if row.number == 1 else row.unit
        table.add_row(row.name, f"{row.number:,}", unit, _size(row.n_bytes), style=style)
    aside = aside_lines(counters.aside) if isinstance(counters, ExecCounters) else ()
    remarks = [Text(line, TROUBLE) for line in aside]
    if counters.logger.until_ns:
        remarks.append(Text(f"seen: until {until_text(counters.logger)}", "dim"))
    return Group(Text(f"\n{node_id}", "bold"), table, *remarks, "", *_sinks(sinks))


def _rows(counters: AnyCounters) -> Iterator[_Row]:
    match counters:
        case GatewayCounters():
            yield from _of_relay(counters.relay)
        case WatchCounters():
            for name, tap in counters.taps.items():
                yield from _of_tap(name, tap)
        case ExecCounters():
            yield _Row("metered processes", counters.aside.processes, "processes")
            yield _Row("metered TUNs", counters.aside.tuns, "interfaces")
    yield from _of_logger(counters.logger)
    if not isinstance(counters, GatewayCounters):
        yield from _troubles(("source without an answer", counters.source_errors, "times"))


def _of_relay(relay: "RelayCounters") -> Iterator[_Row]:
    for way, count, drops in (
        ("sent to peers", relay.tx, relay.tx_dropped),
        ("received from peers", relay.rx, relay.rx_dropped),
    ):
        yield _Row(way, count.packets, "packets", count.bytes)
        for reason, drop in drops.items():
            if drop.packets:
                name = f"  dropped, {words(reason)}"
                yield _Row(name, drop.packets, "packets", drop.bytes, trouble=True)


def _of_tap(name: str, tap: "TapCounters") -> Iterator[_Row]:
    yield _Row(name, tap.frames, "frames")
    yield _Row("  counted", tap.counted, "frames")
    yield from _troubles(
        ("  counted without a connection", tap.snapped, "frames"),
        ("  dropped by the kernel", tap.kernel_drops, "frames"),
        ("  the ring ran full", tap.kernel_freezes, "times"),
        ("  malformed", tap.malformed, "frames"),
        ("  unreadable", tap.unreadable, "frames"),
    )
    for what, count in (("not IP", tap.not_ip), ("of other hosts", tap.other_host)):
        if count:
            yield _Row(f"  left out, {what}", count, "frames")


def _of_logger(logger: "LoggerCounters") -> Iterator[_Row]:
    for point, seen, unattributed in (
        ("tun", logger.tun, logger.unattributed),
        ("sock", logger.sock, logger.sock_unattributed),
    ):
        for way in ("tx", "rx"):
            packets, n_bytes = seen[f"{way}_packets"], seen[f"{way}_bytes"]
            yield _Row(f"seen at the {point}, {way}", packets, "packets", n_bytes)
        for reason, count in unattributed.items():
            yield from _troubles((f"  unattributed, {words(reason)}", count, "packets"))
    left_out = logger.left_out
    for what, packets, n_bytes in (
        ("the overlay's own services", left_out.service_packets, left_out.service_bytes),
        ("exit traffic", left_out.dropped_packets, left_out.dropped_bytes),
    ):
        if packets:
            yield _Row(f"left out of messages, {what}", packets, "packets", n_bytes)
    yield _Row("connections, by period", logger.connections, "")
    yield _Row("endpoints, by period", logger.endpoints, "")
    yield _Row("messages", logger.messages, "")
    if logger.split:
        yield _Row("  split off", logger.split, "messages")
    yield _Row("periods", logger.polls, "")
    yield from _troubles(
        ("  late", logger.late_polls, "periods"),
        ("  with a late lane", logger.late_lanes, "times"),
        ("  a device failed", logger.device_errors, "times"),
        ("  could not read the counts", logger.failed_polls, "periods"),
        ("  no sink could store them", logger.held_polls, "periods"),
        ("  messages could not be made", logger.failed_periods, "periods"),
        ("nodes without an answer", logger.node_errors, "times"),
    )
    if logger.lost_packets:
        name = "lost at the end"
        yield _Row(name, logger.lost_packets, "packets", logger.lost_bytes, trouble=True)
    if logger.written or logger.pending:
        yield _Row("sink, written", logger.written, "messages")
        yield _Row("sink, waiting", logger.pending, "messages")
    yield from _troubles(
        ("sink, dropped", logger.dropped, "messages"),
        ("sink, failures", logger.sink_errors, "attempts"),
    )


def _troubles(*found: tuple[str, int, str]) -> Iterator[_Row]:
    for name, count, unit in found:
        if count:
            yield _Row(name, count, unit, trouble=True)


def _sinks(sinks: Mapping[str, SinkCounters]) -> Iterator[RenderableType]:
    """A table with a row for each sink, without columns that say nothing; then the losses."""
    rows = {name: _cells(sent) for name, sent in sinks.items()}
    shown = [
        column
        for column in next(iter(rows.values()), {})
        if column in ALWAYS or any(row[column].plain not in ("0", NONE) for row in rows.values())
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("messages to", overflow="fold")
    for column in shown:
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(row[column] for column in shown))
    yield table
    for name, sent in sinks.items():
        if sent.dropped:
            packets = plural(sent.dropped_packets, "packet")
            lost = f"{sent.dropped_packets:,} {packets}, {binary_size(sent.dropped_bytes)}"
            yield Text(f"{name}: dropped: {lost}", TROUBLE)
        if sent.last_error:
            yield Text(f"{name}: last error: {sent.last_error}", TROUBLE)


def _cells(sent: SinkCounters) -> dict[str, Text]:
    spooled = binary_size(sent.spool_bytes) if sent.spool_bytes else NONE
    oldest = f"{sent.spool_age_s:.0f} s" if sent.pending and sent.spool_bytes else NONE
    return {
        "written": Text(f"{sent.written:,}"),
        "waiting": _count(sent.pending),
        "dropped": _count(sent.dropped, TROUBLE),
        "failures": _count(sent.errors, TROUBLE),
        "retries": _count(sent.retried, TROUBLE),
        "spool": Text(spooled),
        "oldest": Text(oldest),
    }


def _size(n_bytes: int | None) -> str:
    """A size as text whose numbers, and whose units, are in a column."""
    if n_bytes is None:
        return ""
    number, unit = binary_size(n_bytes).split()
    return f"{number:>6} {unit}"  # 1023.9 KiB is the longest


def _count(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style if count else "dim")
