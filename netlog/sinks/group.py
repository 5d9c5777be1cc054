"""Several sinks as one: each gets every message, whatever happens to the others."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from netlog.display.units import counted
from netlog.model.loss import Loss, LossNotice
from netlog.model.periods import PeriodId
from netlog.sinks.base import DurableSink, Reports, Sink, SinkCounters
from netlog.sinks.queued import QueuedSink

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["SinkGroup"]

_log = logging.getLogger("netlog")

CLOSE_S = 5.0


class SinkGroup:
    """A durable sink made of several sinks, none of which delays another.

    - If a durable sink fails in a period, it misses the whole period. The loss is counted, and a
      line in the sink's stream reports it.
    - If every durable sink fails, the period is stored nowhere: `commit` fails, and the period may
      be offered again.
    - A plain sink gets a queue and a thread of its own (`QueuedSink`). It gets each message once,
      however often the period is offered.

    Args:
        sinks: the sinks by the name that reports use; they belong to the group from now on.

    Thread safety: one thread at a time; `counters` and `reopen` from any.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._durable: dict[str, _Member] = {}
        self._queued: dict[str, QueuedSink] = {}
        self._sinks = dict(sinks)
        for name, sink in self._sinks.items():
            if isinstance(sink, DurableSink):
                self._durable[name] = _Member(name, sink)
            else:
                self._queued[name] = (
                    sink if isinstance(sink, QueuedSink) else QueuedSink(sink, name)
                )
        self._period: PeriodId | None = None
        self._complete = False  # plain sinks have every message of the period
        self._written = self._given = 0
        self._node_id = ""
        self._loss = Loss()  # sum of the period's messages so far

    def begin(self, period: PeriodId) -> bool:
        """Begin to store a period.

        Returns:
            Whether any sink wants its messages.
        """
        again = period == self._period
        if not again:
            self._period, self._complete, self._given = period, False, 0
        self._loss, self._written = Loss(), 0
        for member in self._durable.values():
            member.begin(period, again=again)
        wanted = any(member.wants for member in self._durable.values())
        return wanted or (bool(self._queued) and not self._complete)

    def write(self, message: "Message") -> None:
        """Hand a message to every sink that wants it. Never fails.

        Args:
            message: of the period that was begun. If a period is offered again, it must have the
                same messages, in the same order.
        """
        self._written += 1
        if self._durable:
            self._node_id = message.node_id
            self._loss += Loss(1, message.packets, message.n_bytes)
        for member in self._durable.values():
            member.write(message)
        # Without a period every message is new.
        if self._period is None or self._written > self._given:
            self._given = self._written
            for sink in self._queued.values():
                sink.write(message)

    def commit(self) -> None:
        """Make the period durable at every sink that can store it.

        Raises:
            OSError: there are durable sinks, and none of them could store it.
        """
        self._complete = True
        for member in self._durable.values():
            member.commit()
        failures = [member for member in self._durable.values() if member.error is not None]
        if failures and len(failures) == len(self._durable):
            error = failures[0].error
            raise error if isinstance(error, OSError) else OSError(str(error)) from error
        for member in failures:
            member.miss(self._loss, self._node_id)

    def abort(self) -> None:
        """Forget the period at the durable sinks. Plain sinks keep what they were given."""
        for member in self._durable.values():
            member.abort()

    def reopen(self) -> None:
        """Make every plain sink that writes to a file open it again. Any thread."""
        for sink in self._queued.values():
            sink.reopen()

    def counters(self) -> dict[str, SinkCounters]:
        """Return what happened to the messages, by the sink's name. Any thread."""
        return {
            name: self._durable[name].counters()
            if name in self._durable
            else self._queued[name].counters()[name]
            for name in self._sinks
        }

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is pending, and close every sink. Closing twice is fine.

        Args:
            timeout_s: how long the slow sinks may take together, in seconds.

        Raises:
            TimeoutError: a sink took longer. It stays in use; its pending messages are dropped.
        """
        closing = [
            threading.Thread(target=member.sink.close, name="netlog-close", daemon=True)
            for member in self._durable.values()
        ]
        for sink in self._queued.values():
            sink.finish()
        for thread in closing:
            thread.start()
        due_s = time.monotonic() + timeout_s
        for thread in closing:
            thread.join(max(0.0, due_s - time.monotonic()))
        for sink in self._queued.values():
            sink.close(max(0.0, due_s - time.monotonic()))
        hanging = [
            name for name, thread in zip(self._durable, closing, strict=True) if thread.is_alive()
        ]
        hanging += [name for name, sink in self._queued.items() if sink.hangs]
        if hanging:
            raise TimeoutError(f"{', '.join(hanging)}: took longer than {timeout_s:g} s")


class _Member:
    """One durable sink and its state in the current period.

    An exception of the sink is kept in `error`; the sink is then left alone until the next period.
    """

    def __init__(self, name: str, sink: DurableSink) -> None:
        self.sink = sink
        self.wants = False
        self.error: Exception | None = None
        self._name = name
        self._failing = False
        self._retried = self._errors = 0
        self._loss = self._untold = self._telling = Loss()
        self._node_id = ""

    def begin(self, period: PeriodId, *, again: bool) -> None:
        """Ask the sink whether it wants the period. If asking fails, assume that it does."""
        self._retried += again and self.error is not None
        self.wants, self.error = True, None
        self._telling = Loss()
        try:
            self.wants = self.sink.begin(period)
        except Exception as error:  # noqa: BLE001 - one sink's failure must not reach the others
            self._failed(error)

    def write(self, message: "Message") -> None:
        """Write, unless the sink already has the period or has failed in it."""
        if self.wants and self.error is None:
            try:
                if self._untold and not self._telling:
                    # A notice has every member of Message that sinks use.
                    notice = LossNotice(self._node_id, self._untold)
                    self.sink.write(cast("Message", notice))
                    self._telling = self._untold
                self.sink.write(message)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
                self.abort()

    def commit(self) -> None:
        """Commit, unless the sink already has the period or has failed in it."""
        if self.wants and self.error is None:
            try:
                self.sink.commit()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
                return
            if self._telling:
                self._untold = Loss()
            if self._failing:
                _log.warning(
                    "%s: works again; dropped so far: %s",
                    self._name,
                    counted(self._loss.messages, "message"),
                )
            self._failing = False

    def abort(self) -> None:
        """Forget the period."""
        try:
            self.sink.abort()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def miss(self, loss: Loss, node_id: str) -> None:
        """Account for a period that this sink misses: it will not be offered again."""
        self._loss += loss
        self._untold += loss
        self._node_id = node_id

    def counters(self) -> SinkCounters:
        """Return the sink's own counters, plus the messages that never reached it."""
        own = SinkCounters()
        if isinstance(self.sink, Reports):
            reported = self.sink.counters()
            own = reported.get(self._name) or next(iter(reported.values()), own)
        return replace(
            own,
            retried=own.retried + self._retried,
            errors=own.errors + self._errors,
            dropped=own.dropped + self._loss.messages,
            dropped_packets=own.dropped_packets + self._loss.packets,
            dropped_bytes=own.dropped_bytes + self._loss.n_bytes,
            last_error=own.last_error if self.error is None else _describe(self.error),
        )

    def _failed(self, error: Exception) -> None:
        self.error = self.error or error
        self._errors += 1
        if not self._failing:
            _log.warning("%s: failed, will try again: %s", self._name, _describe(error))
        self._failing = True


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
