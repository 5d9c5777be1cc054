"""Hand messages to a sink, one by one or a whole period at once; keep what the sink refuses."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from netlog.display.units import counted
from netlog.messages.build import Message
from netlog.model.loss import Loss

if TYPE_CHECKING:
    from netlog.model.periods import PeriodId
    from netlog.sinks.base import DurableSink

__all__ = ["Delivery", "DurableDelivery", "MessageFault", "MessageSink"]

_log = logging.getLogger("netlog")

MAX_PENDING = 64
"""Messages kept for a failing sink. A message has at most 256 KiB, so this is at most 16 MiB."""


class _Writes(Protocol):
    def write(self, message: Message, /) -> object: ...


MessageSink: TypeAlias = _Writes | Callable[[Message], object]
"""Where messages go: an object with `write(message)`, or a callable of one message."""


class Delivery:
    """Writes messages in order to one sink that may fail for a while.

    If the sink raises, netlog tries it again with the next period's messages. Refused messages
    wait, at most `MAX_PENDING` of them; beyond that the oldest is dropped and counted. If the sink
    has `write_line`, a line in its stream reports the loss, before the message that follows the
    gap.

    Args:
        sink: where the messages go.
        name: what the log calls the sink; "" for the only one.

    Raises:
        TypeError: `sink` has no `write` and is not callable.

    Thread safety: `put`, `abandon` and the counters from any thread, `write` and `flush` from one.
    """

    def __init__(self, sink: MessageSink, name: str = "") -> None:
        write = getattr(sink, "write", sink)
        if not callable(write):
            raise TypeError("sink: expected an object with write(message), or a callable")
        self._write: Callable[[Message], object] = write
        self._write_line: Callable[[bytes], object] | None = getattr(sink, "write_line", None)
        self._called = f"{name}: " if name else ""
        self._lock = threading.Condition()
        self._pending: deque[Message] = deque()
        self._current: Message | None = None
        self._failing = self._abandoned = False
        self._untold = Loss()
        self._node_id = ""
        self.loss = Loss()
        self.written = 0
        self.retried = 0
        self.errors = 0
        self.last_error = ""

    @property
    def pending(self) -> int:
        """Messages that wait for the sink, including the one that it is writing."""
        with self._lock:
            return len(self._pending) + (self._current is not None)

    @property
    def dropped(self) -> int:
        """Messages given up."""
        return self.loss.messages

    def put(self, message: Message) -> None:
        """Queue a message for the next `flush`."""
        with self._lock:
            self._pending.append(message)
            self._shed()

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until the queue has room for one more message, or the sink fails.

        A failing sink makes no room: the oldest message is then dropped.

        Args:
            timeout_s: the longest wait, in seconds.
        """
        with self._lock:
            self._lock.wait_for(
                lambda: len(self._pending) < MAX_PENDING or self._failing or self._abandoned,
                timeout_s,
            )

    def store(self, _period: "PeriodId", messages: Iterable[Message]) -> bool:
        """Write what is pending, and then the messages of a period.

        Returns:
            Always True: what the sink refuses is kept here.
        """
        self.flush()
        for message in messages:
            self.write(message)
        return True

    def write(self, message: Message) -> None:
        """Write what is pending and then `message`; if the sink fails, keep them all."""
        self.put(message)
        # If the sink failed for an older message of this period, it is not tried again now.
        if not self._failing or self.pending == 1:
            self.flush()

    def flush(self) -> bool:
        """Try to write what is pending. Never raises.

        Returns:
            Whether nothing is pending any more.
        """
        self.retried += self._failing and self.pending > 0
        while (step := self._next()) is not None:
            loss, message = step
            try:
                if message is not None:
                    self._write(message)
                elif self._write_line is not None:
                    self._write_line(loss.to_json(self._node_id))
            except Exception as error:  # noqa: BLE001 - a user's sink must not end the polling
                self._failed(error, loss)
                return False
            self._done(message)
        return True

    def close(self) -> None:
        """Try once more, and drop what the sink still refuses."""
        self.flush()
        self.abandon()

    def abandon(self) -> None:
        """Drop and count everything that is pending, including the message the sink is writing."""
        with self._lock:
            self._abandoned = self._current is not None
            waiting = [] if self._current is None else [self._current]
            for message in (*waiting, *self._pending):
                self._drop(message)
            self._current = None
            self._pending.clear()

    # -- the queue, under its lock -----------------------------------------------------------------

    def _next(self) -> tuple[Loss, Message | None] | None:
        """Take the next item: a loss to report, or the oldest message; None if there is neither."""
        with self._lock:
            if self._abandoned:
                return None
            if self._write_line is not None and self._untold:
                loss, self._untold = self._untold, Loss()
                return loss, None
            if not self._pending:
                return None
            self._current = self._pending.popleft()
            return Loss(), self._current

    def _done(self, message: Message | None) -> None:
        """Record that the sink took `message`, or took the report of a loss if it is None."""
        with self._lock:
            if message is not None and not self._abandoned:
                self.written += 1
            self._current = None
            self._lock.notify_all()
            works_again, self._failing = self._failing, False
            self.last_error = ""
        if works_again:
            dropped = counted(self.dropped, "message")
            _log.warning("%ssink works again; dropped so far: %s", self._called, dropped)

    def _failed(self, error: Exception, loss: Loss) -> None:
        """Put back what the sink has refused."""
        said = f"{type(error).__name__}: {error}"
        with self._lock:
            self.errors += 1
            self._untold = loss + self._untold
            if self._current is not None:
                self._pending.appendleft(self._current)
                self._current = None
            self._shed()
            failed_before, self._failing = self._failing, True
            self._lock.notify_all()
            self.last_error = said
        if not failed_before:
            _log.warning("%ssink failed, will try again: %s", self._called, said)

    def _shed(self) -> None:
        while len(self._pending) > MAX_PENDING:
            self._drop(self._pending.popleft())

    def _drop(self, message: Message) -> None:
        loss = Loss(1, message.packets, message.n_bytes)
        self.loss += loss
        self._untold += loss
        self._node_id = message.node_id


class MessageFault(Exception):  # noqa: N818 - the error is its cause
    """The messages could not be built; `__cause__` says why."""


class DurableDelivery:
    """Stores periods in one durable sink.

    A period that the sink does not take stays in the meter, and is offered again from there.

    Thread safety: one thread; the counters may be read from any.
    """

    pending = 0
    dropped = 0

    def __init__(self, sink: "DurableSink") -> None:
        self._sink = sink
        self._failing = False
        self.written = 0
        self.errors = 0

    def store(self, period: "PeriodId", messages: Iterator[Message]) -> bool:
        """Store a period, unless the sink already has it.

        Args:
            period: the identity of the period.
            messages: its messages, built while this iterates over them.

        Returns:
            Whether the sink has the period now.

        Raises:
            MessageFault: `messages` raised it; nothing is stored.
        """
        written = 0
        # A period without messages is not stored at all.
        message = next(messages, None)
        if message is None:
            return True
        try:
            if self._sink.begin(period):
                while message is not None:
                    self._sink.write(message)
                    written += 1
                    message = next(messages, None)
                self._sink.commit()
        except MessageFault:
            self._abort()
            raise
        except Exception as error:  # noqa: BLE001 - a user's sink must not end the polling
            self._failed(error)
            return False
        self.written += written
        if self._failing:
            self._failing = False
            _log.warning("sinks work again")
        return True

    def close(self) -> None:
        """Do nothing: no messages are kept here."""

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        if not self._failing:
            _log.warning(
                "no sink could store the messages; the meter keeps their counts: %s: %s",
                type(error).__name__,
                error,
            )
        self._failing = True
        self._abort()

    def _abort(self) -> None:
        with contextlib.suppress(Exception):
            self._sink.abort()
