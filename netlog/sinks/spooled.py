"""A sink that keeps messages in a spool until they arrive."""

import errno
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlog.display.units import counted
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
"""The share of the close timeout after which a running attempt is interrupted."""
PROBES = 8
"""After a refused record, this many more are tried alone; if all are refused, the receiver is at
fault."""


@dataclass(frozen=True, slots=True)
class _Shipped:
    """A shipped batch that the cursor has not passed yet.

    Attributes:
        records: what the other side has.
        note: from the shipper, to save with the cursor.
        given_up: records before `records` that are dropped.
    """

    records: "Sequence[Record]"
    note: bytes
    given_up: "Sequence[Record]" = ()


class SpooledSink:
    """Stores each period durably in a spool; a thread of its own ships from there, in order.

    - A batch that was not accepted is tried again and again, with growing waits. Only the
      spool's bound ends that: a full spool drops its oldest messages.
    - If the other side refuses a batch because of its content, the batch is halved.
    - If it refuses a single message but accepts one of the next few alone, the first message is at
      fault. It is dropped, counted, and reported as a loss in the stream.
    - If it accepts none of them, the receiver is at fault, and everything is kept.

    Args:
        spool: belongs to the sink from now on, which closes it.
        shipper: belongs to the sink from now on, which closes it.
        node_id: whose messages these are, for reports of losses.
        name: name of the sink, for the log and the counters.
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
        """Add a message to the period that was begun.

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
            timeout_s: the longest wait, in seconds; None: no limit.

        Returns:
            Whether everything is shipped.
        """
        empty = self._spool.wait_empty(timeout_s)
        with self._idle:
            # Once no attempt is running, the counters include the last batch.
            return self._idle.wait_for(lambda: not self._trying, timeout_s) and empty

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Try once more to ship what is pending. The rest stays in the spool.

        Closing twice is fine.

        Args:
            timeout_s: how long that may take, in seconds; a longer attempt is interrupted.
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
            _log.warning(
                "sink %s: still busy after %g s; unsent messages stay in the spool",
                self._name,
                timeout_s,
            )

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
        """Ship one batch. If it failed, return how many seconds to wait before the next attempt."""
        self._retried += self._failing
        with self._idle:
            self._trying = True
        try:
            self._ship()
        except NotTaken as error:
            return self._failed(error.reason, error.retry_after_s)
        except OSError as error:
            return self._failed(error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a bug in netlog must not end the shipping
            # Only the type: the text of an unexpected error may contain secrets.
            return self._failed(f"internal error: {type(error).__name__}")
        finally:
            if self._shipped is None:  # What arrived stays in hand until the cursor has passed it.
                self._spool.release()
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
                raise OSError(errno.EIO, "the spool has records that cannot be read")
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
        """Find out what is at fault: the first message or the receiver."""
        max_bytes = PROBES * self._shipper.max_bytes
        records = self._spool.read(1 + PROBES, max_bytes, across_segments=True)
        for index in range(1, len(records)):
            note = self._ship_alone(records[index])
            if note is None:
                continue
            # The receiver may have recovered since it refused the earlier ones: try them again.
            for before in range(index):
                taken = self._ship_alone(records[before])
                if taken is not None:
                    index, note = before, taken  # noqa: PLW2901 - the loop ends here
                    break
            if index:
                dropped = counted(index, "message")
                _log.warning("sink %s: dropped %s: %s", self._name, dropped, refusal.reason)
            self._save(_Shipped(records[index : index + 1], note, records[:index]))
            return
        raise refusal

    def _ship_alone(self, record: "Record") -> bytes | None:
        """Ship one record and return the shipper's note; None: the record was refused."""
        try:
            return self._shipper.ship([record])
        except NotTaken as refusal:
            if not refusal.refused:
                raise
            self._errors += 1
            return None

    def _save(self, shipped: "_Shipped") -> None:
        """Move the cursor past what was shipped. If that fails, only that is tried again."""
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
