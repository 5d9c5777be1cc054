"""A sink that keeps messages in a spool until they are where they are to go."""

import errno
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlog.model.periods import PeriodId
from netlog.sinks.backoff import Backoff
from netlog.sinks.base import SinkCounters
from netlog.sinks.shipper import NotTaken, Shipper

if TYPE_CHECKING:
    from netlog.messages.build import Message
    from netlog.spool import Record, Spool

__all__ = ["SpooledSink"]

_log = logging.getLogger("netlog")

CLOSE_TIMEOUT_S = 5.0
PATIENCE = 0.8
"""The part of it after which a try that is under way is interrupted."""
PROBES = 8
"""Records that are tried one by one, before a receiver that refuses all of them is at fault."""


@dataclass(frozen=True, slots=True)
class _Shipped:
    """What the other side has, and what was given up before it."""

    records: "Sequence[Record]"
    note: bytes
    given_up: "Sequence[Record]" = ()


class SpooledSink:
    """Stores each period durably in a spool; a thread of its own ships from there, in order.

    A batch that is not taken is tried again, for ever, with growing waits; the bound of the spool
    is what ends that. A batch that the other side refuses for what is in it is halved. If one
    message alone is refused, and one of the next few alone is taken, the first is at fault: it is
    given up, and counted and told of as a loss. If none is taken the receiver is at fault, and
    everything is kept.

    Args:
        spool: the sink's own from now on; it closes it.
        shipper: likewise.
        node_id: whose messages they are, for telling of losses.
        name: of the sink, for the log and the counters.
        backoff: how long to wait after a failure.

    Thread safety: as `DurableSink`; `counters` and `wait_empty` from any thread.
    """

    def __init__(
        self,
        spool: "Spool",
        shipper: Shipper,
        *,
        node_id: str,
        name: str,
        backoff: Backoff | None = None,
    ) -> None:
        spool.node_id = node_id
        self._spool = spool
        self._shipper = shipper
        self._name = name
        self._backoff = backoff or Backoff()
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        self._trying = False
        self._deadline_s = float("inf")
        self._shipped: _Shipped | None = None
        self._limit = shipper.max_records
        self._failing = False
        self._written = self._errors = self._retried = 0
        self._last_error = ""
        self._thread = threading.Thread(target=self._run, name=f"netlog-sink-{name}", daemon=True)
        self._thread.start()

    def begin(self, period: PeriodId) -> bool:
        """See `DurableSink`."""
        return self._spool.begin(period)

    def write(self, message: "Message") -> None:
        """Take in a message of the period that was begun.

        Raises:
            OSError: nothing of the period is stored.
            StateError: no period was begun.
        """
        self._spool.append(message.to_json(), message.packets, message.n_bytes)

    def commit(self) -> None:
        """See `DurableSink`."""
        self._spool.commit()

    def abort(self) -> None:
        """See `DurableSink`."""
        self._spool.abort()

    def counters(self) -> Mapping[str, SinkCounters]:
        """See `Reports`."""
        spool = self._spool.counters()
        counters = SinkCounters(
            written=self._written,
            pending=spool.pending,
            retried=self._retried,
            errors=self._errors,
            dropped=spool.dropped.messages,
            dropped_packets=spool.dropped.packets,
            dropped_bytes=spool.dropped.n_bytes,
            spool_bytes=spool.spool_bytes,
            spool_age_s=spool.age_s,
            last_error=self._last_error,
        )
        return {self._name: counters}

    def wait_empty(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is shipped.

        Args:
            timeout_s: at most so long; None: no limit.

        Returns:
            Whether it is.
        """
        empty = self._spool.wait_empty(timeout_s)
        with self._idle:
            # What was done last is then counted, too.
            return self._idle.wait_for(lambda: not self._trying, timeout_s) and empty

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Try once more what is pending; the rest stays in the spool. Closing twice is fine.

        Args:
            timeout_s: for that. A try that takes longer is interrupted.
        """
        if not self._stopping.is_set():
            self._deadline_s = time.monotonic() + PATIENCE * timeout_s
            self._stopping.set()
            self._spool.wake()
        self._thread.join(PATIENCE * timeout_s)
        if self._thread.is_alive():
            self._shipper.interrupt()
            self._thread.join((1 - PATIENCE) * timeout_s)
        if self._thread.is_alive():
            _log.warning("sink %s: busy after %g s; what is left is kept", self._name, timeout_s)

    # -- the sink's own thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._spool.wait(None) and (wait_s := self._try()) is not None:
                    self._stopping.wait(wait_s)
            while self._spool.counters().pending and time.monotonic() < self._deadline_s:
                if self._try() is not None:
                    break
        finally:
            self._shipper.close()
            self._spool.close()

    def _try(self) -> float | None:
        """Ship one batch; returns how many seconds to wait before the next try, if it failed."""
        self._retried += self._failing
        with self._idle:
            self._trying = True
        try:
            self._ship()
        except NotTaken as error:
            return self._failed(error.reason, error.retry_after_s)
        except OSError as error:
            return self._failed(error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the shipping
            # Its text may have anything in it.
            return self._failed(f"a defect: {type(error).__name__}")
        finally:
            with self._idle:
                self._trying = False
                self._idle.notify_all()
        return None

    def _ship(self) -> None:
        spool, shipper = self._spool, self._shipper
        if self._shipped is not None:
            self._save(self._shipped)
        note = shipper.prepare(spool.note)
        if note != spool.note:
            spool.advance(spool.position, note)
        records = spool.read(self._limit, shipper.max_bytes, shipper.overhead_bytes)
        if not records:
            if spool.counters().pending:
                raise OSError(errno.EIO, "the spool has records that can not be read")
            return
        try:
            note = shipper.ship(records)
        except NotTaken as refusal:
            if not refusal.refused:
                raise
            if len(records) == 1:
                self._probe(refusal)
                return
            self._errors += 1
            self._limit = len(records) // 2
            return
        self._save(_Shipped(records, note))

    def _probe(self, refusal: NotTaken) -> None:
        """Find out who is at fault: the first message, or the receiver."""
        records = self._spool.read(1 + PROBES, PROBES * self._shipper.max_bytes)
        for index in range(1, len(records)):
            note = self._ship_alone(records[index])
            if note is None:
                continue
            # It may be that the receiver has changed its mind meanwhile: ask for the others again.
            for before in range(index):
                taken = self._ship_alone(records[before])
                if taken is not None:
                    index, note = before, taken  # noqa: PLW2901 - the loop ends here
                    break
            if index:
                _log.warning("sink %s: gave up %d messages: %s", self._name, index, refusal.reason)
            self._save(_Shipped(records[index : index + 1], note, records[:index]))
            return
        raise refusal

    def _ship_alone(self, record: "Record") -> bytes | None:
        """Ship one record; None: it was refused."""
        try:
            return self._shipper.ship([record])
        except NotTaken as refusal:
            if not refusal.refused:
                raise
            self._errors += 1
            return None

    def _save(self, shipped: "_Shipped") -> None:
        """Pass what was shipped. If that fails it is tried again, and not shipped again."""
        self._shipped = shipped
        self._spool.advance(shipped.records[-1], shipped.note, given_up=shipped.given_up)
        self._shipped = None
        self._written += sum(not record.loss for record in shipped.records)
        self._limit = min(2 * self._limit, self._shipper.max_records)
        self._backoff.succeeded()
        self._last_error = ""
        if self._failing:
            self._failing = False
            _log.warning("sink %s: works again", self._name)

    def _failed(self, reason: str, retry_after_s: float | None = None) -> float:
        self._errors += 1
        self._last_error = reason
        if not self._failing:
            self._failing = True
            _log.warning("sink %s: failed, will try again: %s", self._name, reason)
        return self._backoff.after_failure(retry_after_s)
