"""The counters of a gateway and its sinks, in lines for a person."""

from collections.abc import Iterator, Mapping

from netlog.devices.tap import TapCounters
from netlog.display.units import binary_size
from netlog.gateways.exec_metering import ExecCounters
from netlog.gateways.relay import GatewayCounters
from netlog.gateways.watch import WatchCounters
from netlog.logger.logger import LoggerCounters
from netlog.preload.meter import Aside
from netlog.relay.relay import RelayCounters
from netlog.sinks import SinkCounters

__all__ = ["aside_lines", "counter_lines", "sink_line"]


def counter_lines(
    counters: GatewayCounters | ExecCounters | WatchCounters, sinks: Mapping[str, SinkCounters]
) -> Iterator[str]:
    """What a gateway has done so far.

    Args:
        counters: of what moves or taps its packets, and of the logger.
        sinks: those of the sinks, by name.

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
            yield from aside_lines(counters.aside)
    yield from _logger_lines(counters.logger)
    if not isinstance(counters, GatewayCounters) and counters.source_errors:
        yield f"source: {counters.source_errors} times without an answer"
    for name, sent in sinks.items():
        yield f"{name}: {sink_line(sent)}"


def aside_lines(aside: Aside) -> Iterator[str]:
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
            f"{aside.laneless_packets} packets, {size}, are in the messages without addresses: "
            "their thread or fork had no part of the meter"
        )
    if aside.far_descriptors:
        yield f"{aside.far_descriptors} descriptors had too high a number to be watched"


def _relay_lines(relay: RelayCounters) -> Iterator[str]:
    for way, count, drops in (
        ("sent to peers", relay.tx, relay.tx_dropped),
        ("received from peers", relay.rx, relay.rx_dropped),
    ):
        dropped = _by_reason({reason: drop.packets for reason, drop in drops.items()})
        yield f"{way}: {count.packets} packets, {binary_size(count.bytes)}; dropped: {dropped}"


def _tap_lines(taps: Mapping[str, TapCounters]) -> Iterator[str]:
    for name, tap in taps.items():
        left_out = {
            "not_ip": tap.not_ip,
            "of_other_hosts": tap.other_host,
            "malformed": tap.malformed,
            "unreadable": tap.unreadable,
        }
        yield (
            f"{name}: {tap.counted} frames counted, {tap.kernel_drops} dropped by the kernel "
            f"(the ring ran full {tap.kernel_freezes} times); left out: {_by_reason(left_out)}"
        )


def _logger_lines(logger: LoggerCounters) -> Iterator[str]:
    for point, seen in (("tun", logger.tun), ("sock", logger.sock)):
        ways = (
            f"{way} {seen[f'{way}_packets']} packets, {binary_size(seen[f'{way}_bytes'])}"
            for way in ("tx", "rx")
        )
        yield f"seen at the {point}: {'; '.join(ways)}"
    unattributed = {
        reason: count + logger.sock_unattributed[reason]
        for reason, count in logger.unattributed.items()
    }
    yield f"unattributed: {_by_reason(unattributed)}"
    yield f"connections: {logger.connections}, endpoints: {logger.endpoints}"
    split = f", {logger.split} of them split off" if logger.split else ""
    yield f"messages: {logger.messages} of {logger.polls} periods{split}"
    troubles = {
        "late": logger.late_polls,
        "with a late lane": logger.late_lanes,
        "that could not read the counts": logger.failed_polls,
        "that no sink could store": logger.held_polls,
        "whose messages could not be made": logger.failed_periods,
    }
    said = [f"{count} {what}" for what, count in troubles.items() if count]
    yield f"polls: {', '.join(said) or 'all in time'}"


def sink_line(counters: SinkCounters) -> str:
    """What became of the messages at one sink."""
    lost = (
        f" ({counters.dropped_packets} packets, {binary_size(counters.dropped_bytes)})"
        if counters.dropped
        else ""
    )
    parts = [f"{counters.written} messages written", f"{counters.dropped} dropped{lost}"]
    if counters.pending:
        parts.append(f"{counters.pending} waiting")
    if counters.errors:
        parts.append(f"{counters.errors} failures")
    if counters.retried:
        parts.append(f"{counters.retried} retries")
    line = ", ".join(parts)
    if counters.spool_bytes:
        line += f"; spool: {binary_size(counters.spool_bytes)}"
        if counters.pending:
            line += f", the oldest message {counters.spool_age_s:.0f} s old"
    if counters.last_error:
        line += f"; last error: {counters.last_error}"
    return line


def _by_reason(counts: Mapping[str, int]) -> str:
    found = [f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count]
    return ", ".join(found) or "none"
