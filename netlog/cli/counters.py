"""The counters of a gateway and its sinks, in lines for a person."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from netlog.cli.diagnostics import say
from netlog.display.units import binary_size, counted
from netlog.gateways.counters import AnyCounters, ExecCounters, GatewayCounters, WatchCounters
from netlog.model.times import format_rfc3339
from netlog.sinks.base import SinkCounters

if TYPE_CHECKING:
    from netlog.devices.tap import TapCounters
    from netlog.logger.logger import LoggerCounters
    from netlog.messages.sections import LeftOut
    from netlog.preload.meter import Aside
    from netlog.relay.relay import RelayCounters

__all__ = ["aside_lines", "counter_lines", "print_counters", "sink_line", "until_text", "words"]

NS_PER_MS = 1_000_000


def counter_lines(counters: AnyCounters, sinks: Mapping[str, SinkCounters]) -> Iterator[str]:
    """What a gateway has done so far; every counter that is not 0 is in it.

    Args:
        counters: the gateway's.
        sinks: those of its sinks, by name.

    Returns:
        The lines, without line breaks.

    Thread safety: any thread.
    """
    match counters:
        case GatewayCounters():
            yield from _relay_lines(counters.relay)
        case WatchCounters():
            yield from _tap_lines(counters.taps)
        case ExecCounters():
            aside = counters.aside
            processes = counted(aside.processes, "process", "processes")
            yield f"metered: {processes}, {counted(aside.tuns, 'TUN')}"
            yield from aside_lines(aside)
    yield from _logger_lines(counters.logger)
    if not isinstance(counters, GatewayCounters) and counters.source_errors:
        yield f"source: {counted(counters.source_errors, 'time')} without an answer"
    for name, sent in sinks.items():
        yield f"{name}: {sink_line(sent)}"


def print_counters(
    node_id: str, counters: AnyCounters, sinks: Mapping[str, SinkCounters], prefix: str = ""
) -> None:
    """Print the counters to standard error: tables on a terminal, lines elsewhere.

    Args:
        node_id: the gateway's node.
        counters: the gateway's.
        sinks: those of its sinks, by name.
        prefix: what each line begins with.
    """
    if sys.stderr.isatty():
        # Imported only for a terminal, because it loads rich.
        from netlog.cli.counter_tables import print_tables  # noqa: PLC0415

        with contextlib.suppress(OSError):
            print_tables(node_id, counters, sinks)
        return
    for line in counter_lines(counters, sinks):
        say(f"{prefix}{line}")


def aside_lines(aside: "Aside") -> Iterator[str]:
    """What the messages do not have of a daemon that is metered from inside.

    Args:
        aside: what its processes say beside their counts.

    Returns:
        The lines, without line breaks; none if there is nothing to say.

    Thread safety: any thread.
    """
    if not aside.tuns:
        yield "the command opened no TUN interface that the library saw: nothing was counted"
    if aside.laneless_packets:
        size = binary_size(aside.laneless_bytes)
        yield (
            f"{counted(aside.laneless_packets, 'packet')}, {size}, in the messages without "
            "addresses: their thread or fork had no part of the meter"
        )
    if aside.far_descriptors:
        yield f"{counted(aside.far_descriptors, 'descriptor')} with too high a number to be watched"


def _relay_lines(relay: "RelayCounters") -> Iterator[str]:
    for way, count, drops in (
        ("sent to peers", relay.tx, relay.tx_dropped),
        ("received from peers", relay.rx, relay.rx_dropped),
    ):
        dropped = _listed(
            f"{drop.packets} {words(reason)} ({binary_size(drop.bytes)})"
            for reason, drop in drops.items()
            if drop.packets
        )
        packets, size = counted(count.packets, "packet"), binary_size(count.bytes)
        yield f"{way}: {packets}, {size}; dropped: {dropped}"


def _tap_lines(taps: "Mapping[str, TapCounters]") -> Iterator[str]:
    for name, tap in taps.items():
        left_out = {
            "not_ip": tap.not_ip,
            "of_other_hosts": tap.other_host,
            "malformed": tap.malformed,
            "unreadable": tap.unreadable,
        }
        snapped = f", {tap.snapped} counted without a connection" if tap.snapped else ""
        frames, full = counted(tap.counted, "frame"), counted(tap.kernel_freezes, "time")
        yield (
            f"{name}: {frames} counted, {tap.kernel_drops} dropped by the kernel "
            f"(the ring ran full {full}); left out: {_by_reason(left_out)}; "
            f"frames in all: {tap.frames}{snapped}"
        )


def _logger_lines(logger: "LoggerCounters") -> Iterator[str]:
    until = f" until {until_text(logger)}" if logger.until_ns else ""
    for point, seen in (("tun", logger.tun), ("sock", logger.sock)):
        ways = (
            f"{way} {counted(packets, 'packet')}, {binary_size(n_bytes)}"
            for way, packets, n_bytes in (
                ("tx", seen["tx_packets"], seen["tx_bytes"]),
                ("rx", seen["rx_packets"], seen["rx_bytes"]),
            )
        )
        yield f"seen at the {point}{until}: {'; '.join(ways)}"
    at_sock = _by_reason(logger.sock_unattributed)
    also = f"; at the sock: {at_sock}" if any(logger.sock_unattributed.values()) else ""
    yield f"unattributed: {_by_reason(logger.unattributed)}{also}"
    yield f"left out of messages: {_left_out(logger.left_out)}"
    yield f"connections, by period: {logger.connections}, endpoints: {logger.endpoints}"
    split = f", {logger.split} of them split off" if logger.split else ""
    yield f"messages: {logger.messages} of {counted(logger.polls, 'period')}{split}"
    yield f"polls: {_listed(_troubles(logger), none='all in time')}"
    if logger.node_errors:
        yield f"nodes: {counted(logger.node_errors, 'time')} without an answer"
    if logger.lost_packets:
        packets, size = counted(logger.lost_packets, "packet"), binary_size(logger.lost_bytes)
        yield f"lost: {packets}, {size}: no sink had stored them at the end"
    own = SinkCounters(
        logger.written, logger.pending, errors=logger.sink_errors, dropped=logger.dropped
    )
    if own != SinkCounters():
        yield f"sink: {sink_line(own)}"


def _troubles(logger: "LoggerCounters") -> Iterator[str]:
    for count, what in (
        (logger.late_polls, "late"),
        (logger.late_lanes, "with a late lane"),
        (logger.device_errors, "at which a device failed"),
        (logger.failed_polls, "that could not read the counts"),
        (logger.held_polls, "that no sink could store"),
        (logger.failed_periods, "whose messages could not be made"),
    ):
        if count:
            yield f"{count} {what}"


def _left_out(left_out: "LeftOut") -> str:
    """The traffic that no message shows because the configuration says so."""
    return _listed(
        f"{counted(packets, 'packet')}, {binary_size(n_bytes)}, {what}"
        for packets, n_bytes, what in (
            (left_out.service_packets, left_out.service_bytes, "to the overlay's own services"),
            (left_out.dropped_packets, left_out.dropped_bytes, "of exit traffic"),
        )
        if packets
    )


def sink_line(counters: SinkCounters) -> str:
    """What became of the messages at one sink."""
    lost = (
        f" ({counted(counters.dropped_packets, 'packet')}, {binary_size(counters.dropped_bytes)})"
        if counters.dropped
        else ""
    )
    parts = [f"{counted(counters.written, 'message')} written", f"{counters.dropped} dropped{lost}"]
    if counters.pending:
        parts.append(f"{counters.pending} waiting")
    if counters.errors:
        parts.append(counted(counters.errors, "failure"))
    if counters.retried:
        parts.append(counted(counters.retried, "retry", "retries"))
    line = ", ".join(parts)
    if counters.spool_bytes:
        line += f"; spool: {binary_size(counters.spool_bytes)}"
        if counters.pending:
            line += f", the oldest message {counters.spool_age_s:.0f} s old"
    if counters.last_error:
        line += f"; last error: {counters.last_error}"
    return line


def until_text(logger: "LoggerCounters") -> str:
    """The end of the last period that the logger has counted, to the millisecond."""
    return format_rfc3339(logger.until_ns - logger.until_ns % NS_PER_MS)


def words(name: str) -> str:
    """A counter's name as a person reads it."""
    return name.replace("_", " ")


def _by_reason(counts: Mapping[str, int]) -> str:
    return _listed(f"{count} {words(reason)}" for reason, count in counts.items() if count)


def _listed(parts: Iterable[str], none: str = "none") -> str:
    return ", ".join(parts) or none
