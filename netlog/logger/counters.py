"""The counters of a logger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netlog.logger.points import Reading
from netlog.messages.build import LeftOut
from netlog.meter.snapshot import REASONS
from netlog.model.rows import COUNTS, Rows
from netlog.sinks.base import SinkCounters

__all__ = ["LoggerCounters"]


@dataclass(slots=True)
class LoggerCounters:
    """What a logger has seen and done since startup.

    Attributes:
        until_ns: the end of the last period that is counted here, in ns since the epoch; 0: none.
            What is counted elsewhere may be newer: a relay and a tap count at once.
        polls: extractions. `late_polls` of them came more than 1.5 periods after the last one.
        late_lanes: how often a writer stayed in a batch so long that its counts came a poll later.
        device_errors: extractions at which a user's own device raised an error.
        connections: rows drained at the TUN: a connection counts once in each period that has it.
            `endpoints`: rows drained at the socket.
        tun, sock: sums of tx_packets, tx_bytes, rx_packets and rx_bytes, unattributed included.
        unattributed: packets by reason at the TUN. `sock_unattributed`: those at the socket.
        failed_polls: polls that could not read the counts (no memory, a damaged meter file).
        held_polls: polls at which no sink could store the messages. Their counts stay in the
            meter.
        failed_periods: periods whose messages could not be made. This is a defect; see the log.
        messages: messages made. `split` of them were needed because a period did not fit into one.
        left_out: traffic that no message shows, as configured: traffic to the overlay's own
            services, and dropped exit traffic.
        lost_packets, lost_bytes: what no sink had accepted when the logger was shut down. Always 0
            with a meter in a file, which keeps the counts.
        node_errors: how often the source of nodes failed.
        written, pending, dropped: what happened to the messages, if the sink does not count that
            itself.
        sink_errors: how often the sink raised an error.
        sinks: what happened to the messages at each sink, if the sink counts that.
    """

    until_ns: int = 0
    polls: int = 0
    late_polls: int = 0
    late_lanes: int = 0
    device_errors: int = 0
    connections: int = 0
    endpoints: int = 0
    tun: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    sock: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    sock_unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    failed_polls: int = 0
    held_polls: int = 0
    failed_periods: int = 0
    messages: int = 0
    split: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    lost_packets: int = 0
    lost_bytes: int = 0
    node_errors: int = 0
    written: int = 0
    pending: int = 0
    dropped: int = 0
    sink_errors: int = 0
    sinks: Mapping[str, SinkCounters] = field(default_factory=dict)

    def add_reading(self, reading: Reading) -> None:
        """Add the results of one poll, except its rows."""
        self.polls += 1
        self.late_lanes += reading.late_lanes
        self.device_errors += reading.device_errors
        for reason in REASONS:
            self.unattributed[reason] += reading.tun_unattributed[reason]
            self.sock_unattributed[reason] += reading.sock_unattributed[reason]

    def add_rows(self, tun: Rows, sock: Rows) -> None:
        """Add the rows of a period. They are iterated, unless they have been already."""
        self.connections += tun.counted().count
        self.endpoints += sock.counted().count
        for name in COUNTS:
            self.tun[name] += tun.counted().sums[name]
            self.sock[name] += sock.counted().sums[name]

    def add_lost(self, rows: Rows) -> None:
        """Add rows that no message will show."""
        sums = rows.counted().sums
        self.lost_packets += sums["tx_packets"] + sums["rx_packets"]
        self.lost_bytes += sums["tx_bytes"] + sums["rx_bytes"]

    def add_left_out(self, left_out: LeftOut) -> None:
        """Add what the messages of a period do not show."""
        for name in LeftOut.__slots__:
            setattr(self.left_out, name, getattr(self.left_out, name) + getattr(left_out, name))

    def copy(self) -> "LoggerCounters":
        """A copy that does not change any more."""
        copied = replace(self, left_out=replace(self.left_out))
        for name in ("tun", "sock", "unattributed", "sock_unattributed"):
            setattr(copied, name, dict(getattr(self, name)))
        return copied
