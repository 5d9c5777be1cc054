"""The logger's own thread: every period extract, emit, clear."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

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
"""A poll counts as late when it comes after so many periods."""

LAST_POLLS = 20
"""Extractions at shutdown until no writer is late: at 0.1 s each, 2 s for one that hangs."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What stays for one run of the logger."""

    node_id: str
    poll_period_s: float
    exit_traffic: str | None
    max_bytes: int


@dataclass(slots=True)
class _Drained:
    """A period whose counts are read, and in the meter still; `stored`: a sink has it."""

    reading: Reading
    period: Period
    config: PeriodConfig
    stored: bool = False
    counted: bool = False

    def sock(self) -> Iterator[Slice]:
        """The rows of the sock, with the peers behind their endpoints."""
        for rows, last in self.reading.sock:
            yield fill_sources(rows, self.config.peers), last


class Poller:
    """Turns the counts of observation points into messages for a sink, until it is stopped.

    Args:
        settings: of this run.
        points: where the counts are.
        sink: where the messages go.
        in_force: routes and peers.

    Raises:
        TypeError: the sink is none.

    Thread safety: `run` is a thread's; `stop` and `counters` may be called from any.
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
        # A period that no sink has stored: the next poll tries again before it reads on.
        self._held: _Drained | None = None
        self._failing = False

    @classmethod
    def idle(cls) -> Self:
        """One that has nothing to poll."""
        settings = RunSettings("", 1.0, "drop", 0)
        return cls(settings, ObservationPoints(None, None), lambda _: None, PeriodConfigs())

    def stop(self) -> None:
        """Let `run` end after the partial last period."""
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
            # What a predecessor left is not mixed with what is counted from now on.
            for _ in range(self._points.inherited_periods):
                self._poll()
            self._poll_periods()
            self._points.enable(enabled=False)
            for _ in range(LAST_POLLS):
                if not self._poll():
                    break
        except StateError:
            _log.exception("a meter was closed under its logger: what it held is lost")
        self._delivery.close()
        self._give_up_held()
        self._account_delivery()

    def _give_up_held(self) -> None:
        """What no sink took stays in a meter's file for a successor; a private meter has none."""
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
        _log.error("no sink took the last messages: %d packets", self._counters.lost_packets)

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
        """One period; before it, one that was held. Returns how many writers were late."""
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
                _log.warning("the counts could not be read, will try again: %s", error)
            self._failing = True
        return late

    def _drain(self) -> _Drained:
        reading = self._points.extract()
        # The period is dated before anything of it leaves, so that a successor which offers it
        # again gives it the same times.
        if (period := reading.period) is None:
            period = self._clock.end_period()
            reading.date(period)
        self._counters.add_reading(reading)
        return _Drained(reading, period, self._in_force.end_period())

    def _finish(self, drained: _Drained) -> bool:
        """Store the messages of a period and clear its counts; False: no sink took them."""
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
        """Add the rows of a period to the counters, once; mostly its messages went through them."""
        if not drained.counted:
            self._counters.add_rows(drained.reading.tun, drained.reading.sock)
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
                # The rows could not be read, perhaps this time only: they are still there.
                raise fault.__cause__ from None
            # A fault of ours must not end the metering either.
            self._counters.failed_periods += 1
            _log.exception("a period's messages could not be made")
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
