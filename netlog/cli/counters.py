"""The counters of a gateway and its sinks, in lines for a person."""

from collections.abc import Iterator, Mapping

from netlog._units import binary_size
from netlog.gateway import GatewayCounters
from netlog.logger import LoggerCounters
from netlog.sinks import SinkCounters
from netlog.watch import WatchCounters

__all__ = ["counter_lines", "sink_line", "watch_lines"]


def counter_lines(gateway: GatewayCounters, sinks: Mapping[str, SinkCounters]) -> Iterator[str]:
    """What a gateway has done so far.

    Args:
        gateway: the relay's and the logger's counters.
        sinks: those of the sinks, by name.

    Returns:
        The lines, without line breaks.

    Thread safety: any thread.
    """
    relay, logger = gateway.relay, gateway.logger
    for way, count, drops in (
        ("sent to peers", relay.tx, relay.tx_dropped),
        ("received from peers", relay.rx, relay.rx_dropped),
    ):
        dropped = _by_reason({reason: drop.packets for reason, drop in drops.items()})
        yield f"{way}: {count.packets} packets, {binary_size(count.bytes)}; dropped: {dropped}"
    yield from _logger_lines(logger)
    for name, counters in sinks.items():
        yield f"{name}: {sink_line(counters)}"


def watch_lines(watch: WatchCounters, sinks: Mapping[str, SinkCounters]) -> Iterator[str]:
    """What a watch has done so far.

    Args:
        watch: the counters of its taps and its logger.
        sinks: those of the sinks, by name.

    Returns:
        The lines, without line breaks.

    Thread safety: any thread.
    """
    for name, tap in watch.taps.items():
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
    yield from _logger_lines(watch.logger)
    if watch.source_errors:
        yield f"source: {watch.source_errors} times without an answer"
    for name, counters in sinks.items():
        yield f"{name}: {sink_line(counters)}"


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
