"""A sink behind a queue and a thread of its own, so that it delays no other sink."""

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from netlog.sinks.base import Sink, SinkCounters
from netlog.sinks.delivery import MAX_PENDING, Delivery

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["QueuedSink"]

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0
"""A failing sink is tried again after FIRST_RETRY_S; each failure doubles the wait up to this."""
PATIENCE_S = 1.0
"""How long a slow sink may delay the logger in all, until its queue is empty again."""


@runtime_checkable
class _Rotates(Protocol):
    def reopen(self) -> None: ...
    def rotate_if_due(self) -> None: ...


class QueuedSink:
    """Writes messages to another sink from a thread of its own, whose failures `write` never sees.

    At most 64 messages wait. If the other sink is slow or fails, further messages push out the
    oldest ones. Dropped messages are counted, and a line in the stream reports them as soon as the
    other sink works.

    A period with very many connections makes more than 64 messages at once. Then `write` waits
    while the other sink works, but at most one second in all until the queue is empty again.

    Args:
        sink: the other sink; it belongs to this one from now on.
        name: what reports call it.

    Thread safety: `write` from one thread; everything else from any.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self.sink = sink
        self._name = name
        self._delivery = Delivery(sink, name)
        self._changed = threading.Condition()
        self._closing = self._reopening = False
        self._patience_s = PATIENCE_S
        self._thread = threading.Thread(target=self._run, name="netlog-sink", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Whether this sink is closed while a call of the other sink has not returned."""
        return self._closing and self._thread.is_alive()

    def write(self, message: "Message") -> None:
        """Queue a message for the other sink.

        Args:
            message: what to write.

        Raises:
            ValueError: the sink is closed.
        """
        if self._closing:
            raise ValueError(f"{self._name}: the sink is closed")
        if self._patience_s > 0 and self._delivery.pending >= MAX_PENDING:
            began_s = time.monotonic()
            self._delivery.wait_for_room(self._patience_s)
            self._patience_s -= time.monotonic() - began_s
        self._delivery.put(message)
        with self._changed:
            self._changed.notify()

    def reopen(self) -> None:
        """Make the other sink open its file again, if it has one, and try it at once."""
        with self._changed:
            self._reopening = True
            self._changed.notify()

    def counters(self) -> dict[str, SinkCounters]:
        """Return what happened to the messages, by the sink's name."""
        delivery = self._delivery
        counters = SinkCounters(
            written=delivery.written,
            pending=delivery.pending,
            retried=delivery.retried,
            errors=delivery.errors,
            dropped=delivery.loss.messages,
            dropped_packets=delivery.loss.packets,
            dropped_bytes=delivery.loss.n_bytes,
            last_error=delivery.last_error,
        )
        return {self._name: counters}

    def finish(self) -> None:
        """Begin to close, as `close` does, but do not wait."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, timeout_s: float = LAST_RETRY_S) -> None:
        """Write what is pending, close the other sink and end the thread. Closing twice is fine.

        A failing sink is tried once more; what it refuses then is dropped and counted.

        Args:
            timeout_s: how long a slow sink may take, in seconds. After that, pending messages are
                dropped and counted; the other sink stays open because it is still in use.
        """
        self.finish()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._delivery.abandon()

    def _run(self) -> None:
        retry_s = 0.0
        closing = False
        while not closing:
            closing = self._wait(retry_s)
            if self._delivery.flush():
                retry_s = 0.0
                self._patience_s = PATIENCE_S
            else:
                retry_s = min(max(2 * retry_s, FIRST_RETRY_S), LAST_RETRY_S)
        self._delivery.abandon()
        self.sink.close()

    def _wait(self, retry_s: float) -> bool:
        """Wait for a message, a retry, a reopen or the end; return whether it is the end."""
        due_s = time.monotonic() + retry_s
        with self._changed:
            while not (self._closing or self._reopening):
                left_s = due_s - time.monotonic()
                if left_s <= 0 and self._delivery.pending:
                    break
                self._changed.wait(left_s if left_s > 0 else None)
            closing, reopening = self._closing, self._reopening
            self._reopening = False
        if reopening and isinstance(self.sink, _Rotates):
            self.sink.reopen()
            # If the file cannot be opened now, the next write reports it.
            with contextlib.suppress(OSError):
                self.sink.rotate_if_due()
        return closing
