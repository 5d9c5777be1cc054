"""The logger's own thread: every period it extracts the counts, emits messages, then clears."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from netlog.display.units import counted
from netlog.errors import MeterFileError, StateError
from netlog.logger.counters import LoggerCounters
from netlog.logger.period_config import PeriodConfig, PeriodConfigs
from netlog.logger.points import ObservationPoints, Reading
from netlog.messages.build import LeftOut, Message, iter_messages
from netlog.messages.peer_sources import fill_sources
from netlog.model.periods import Period
from netlog.model.rows import Rows, Slice
from netlog.sinks.base import DurableSink, Reports
from netlog.sinks.delivery import Delivery, DurableDelivery, MessageFault, MessageSink

__all__ = ["Poller", "RunSettings"]

_log = logging.getLogger("netlog")

LATE_POLL_PERIODS = 1.5
"""A poll counts as late if it comes more than this many periods after the last one."""

LAST_POLLS = 20
"""Extractions at shutdown until no writer is late. At 0.1 s each, a hung writer costs 2 s."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings that stay the same for one run of the logger."""

    node_id: str
    poll_period_s: float
    exit_traffic: str | None
    max_bytes: int


@dataclass(slots=True)
class _Drained:
    """A period that was read and whose counts are still in the meter.

    Attributes:
        reading: the counts.
        period: when they were counted.
        config: the routes, peers and nodes of the period.
        stored: whether a sink has stored the messages.
        counted: whether the counters include the rows.
    """

    reading: Reading
    period: Period
    config: PeriodConfig
    stored: bool = False
    counted: bool = False

    def sock(self) -> Iterator[Slice]:
        """The rows of the sock, with the addresses of the peers at their endpoints."""
        for rows, last in self.reading.sock:
            yield fill_sources(rows, self.config.peers), last


class Poller:
    """Turns the counts of observation points into messages for a sink, until it is stopped.

    Args:
        settings: the settings of this run.
        points: the observation points.
        sink: the destination of the messages.
        in_force: the routes, peers and nodes.

    Raises:
        TypeError: `sink` is not a sink.

    Thread safety: `run` in a thread of its own; `stop` and `counters` from any thread.
    """

    def __init__(
        self,
        settings: RunSettings,
        points: ObservationPoints,
        sink: MessageSink,
        in_force: PeriodConfigs,
    ) -> None:
        self._settings = settings
        self._points = points
        self._sink = sink
        self._delivery: DurableDelivery | Delivery = (
            DurableDelivery(sink) if isinstance(sink, DurableSink) else Delivery(sink)
        )
        self._in_force = in_force
        self._clock = points.clock()
        self._counters = LoggerCounters()
        self._stopping = threading.Event()
        # A period that no sink has stored. The next poll offers it again, before it reads more.
        self._held: _Drained | None = None
        self._failing = False

    @classmethod
    def idle(cls) -> Self:
        """A poller without anything to poll."""
        settings = RunSettings("", 1.0, "drop", 0)
        return cls(settings, ObservationPoints(None, None), lambda _: None, PeriodConfigs())

    def stop(self) -> None:
        """Make `run` end after the partial last period."""
        self._stopping.set()
        self._points.wake()

    def counters(self) -> LoggerCounters:
        """A copy of the counters."""
        copied = self._counters.copy()
        if isinstance(self._sink, Reports):
            copied.sinks = dict(self._sink.counters())
        return copied

    def run(self) -> None:
        """Poll until `stop` is called."""
        try:
            # Inherited counts get messages of their own, apart from what is counted from now on.
            for _ in range(self._points.inherited_periods):
                self._poll()
            self._poll_periods()
            self._points.enable(enabled=False)
            for _ in range(LAST_POLLS):
                if not self._poll():
                    break
        except StateError:
            _log.exception("a meter was closed while its logger ran: its counts are lost")
        except Exception:  # noqa: BLE001 - logged with its trace
            _log.exception("the logger has failed: nothing is metered from now on")
        self._delivery.close()
        self._give_up_held()
        self._account_delivery()

    def _give_up_held(self) -> None:
        """Count as lost what no sink accepted. A meter in a file keeps it for the next process."""
        held = self._held
        if held is None or held.stored or self._points.inherits:
            return
        self._count(held)
        held.reading.clear()
        rest = self._points.extract()
        self._counters.add_reading(rest)
        self._counters.add_rows(rest.tun, rest.sock)
        rest.clear()
        for rows in (held.reading.tun, held.reading.sock, rest.tun, rest.sock):
            self._counters.add_lost(rows)
        _log.error(
            "no sink accepted the last messages: %s", counted(self._counters.lost_packets, "packet")
        )

    def _poll_periods(self) -> None:
        period_s = self._settings.poll_period_s
        polled_s = time.monotonic()
        while True:
            due_s = polled_s + period_s
            self._points.wait(max(0.0, due_s - time.monotonic()), self._stopping)
            if self._stopping.is_set():
                return
            now_s = time.monotonic()
            self._counters.late_polls += now_s - polled_s > LATE_POLL_PERIODS * period_s
            polled_s = now_s
            self._poll()

    def _poll(self) -> int:
        """Handle a held period, if any, then one new period. Returns how many writers were late."""
        late = 0
        try:
            if self._held is None or self._finish(self._held):
                drained = self._held = self._drain()
                late = drained.reading.late_lanes
                self._finish(drained)
            self._failing = False
        except (MeterFileError, MemoryError) as error:
            self._counters.failed_polls += 1
            if not self._failing:
                _log.warning("cannot read the counts, will try again: %s", error)
            self._failing = True
        except Exception:  # noqa: BLE001 - logged with its trace
            # Nothing may end the metering while the gateway runs on. The counts are still there,
            # unless a meter was closed, which raises.
            if self._held is None:
                self._points.read_again()
            self._counters.failed_polls += 1
            if not self._failing:
                _log.exception("a poll failed, will try again")
            self._failing = True
        return late

    def _drain(self) -> _Drained:
        reading = self._points.extract()
        # The period is dated before any of its messages leaves. If a later process has to offer it
        # again, the messages then have the same times.
        if (period := reading.period) is None:
            period = self._clock.end_period()
            reading.date(period)
            if self._clock.stepped_ns:
                _log.warning(
                    "the clock was stepped by %+.3f s: the next period begins at its new time",
                    self._clock.stepped_ns / 1e9,
                )
        self._counters.add_reading(reading)
        return _Drained(reading, period, self._in_force.end_period())

    def _finish(self, drained: _Drained) -> bool:
        """Store the messages of a period, and clear its counts; False: no sink accepted them."""
        if not drained.stored:
            drained.stored = self._store(drained)
            self._account_delivery()
        self._count(drained)
        if not drained.stored:
            self._counters.held_polls += 1
            return False
        drained.reading.clear()
        self._held = None
        return True

    def _count(self, drained: _Drained) -> None:
        """Add the rows of a period to the counters, once.

        This is usually free: making the messages has iterated the rows and summed them up.
        """
        if not drained.counted:
            self._counters.add_rows(drained.reading.tun, drained.reading.sock)
            self._counters.until_ns = drained.period.end_ns
            drained.counted = True

    def _store(self, drained: _Drained) -> bool:
        made = 0
        left_out = LeftOut()

        def messages() -> Iterator[Message]:
            nonlocal made
            try:
                for message in self._messages(drained, left_out):
                    made += 1
                    yield message
            except Exception as error:
                raise MessageFault from error

        try:
            stored = self._delivery.store(drained.reading.id, messages())
        except MessageFault as fault:
            if isinstance(fault.__cause__, MeterFileError | MemoryError):
                # The rows could not be read, but they still exist: the next poll tries again.
                raise fault.__cause__ from None
            # A defect in netlog must not end the metering.
            self._counters.failed_periods += 1
            for rows in (drained.reading.tun, drained.reading.sock):
                self._counters.add_lost(rows)
            _log.exception("cannot make the messages of a period: its counts are lost")
            return True
        if stored:
            self._counters.messages += made
            self._counters.split += max(made - 1, 0)
            self._counters.add_left_out(left_out)
        return stored

    def _messages(self, drained: _Drained, left_out: LeftOut) -> Iterator[Message]:
        return iter_messages(
            node_id=self._settings.node_id,
            start=drained.period.start_ns,
            end=drained.period.end_ns,
            tun=drained.reading.tun,
            sock=Rows(drained.sock),
            routes=drained.config.routes,
            nodes=drained.config.nodes,
            exit_traffic=self._settings.exit_traffic,
            max_bytes=self._settings.max_bytes,
            left_out=left_out,
        )

    def _account_delivery(self) -> None:
        counters, delivery = self._counters, self._delivery
        counters.written = delivery.written
        counters.pending = delivery.pending
        counters.dropped = delivery.dropped
        counters.sink_errors = delivery.errors
        counters.node_errors = self._in_force.node_errors
