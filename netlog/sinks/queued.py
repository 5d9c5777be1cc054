"""A sink behind a queue and a thread of its own, so that it delays nobody."""

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
"""A sink that fails is asked again after these, and what lies between by doubling."""
PATIENCE_S = 1.0
"""How long one sink that is slow may hold up the logger, once."""


@runtime_checkable
class _Rotates(Protocol):
    def reopen(self) -> None: ...
    def rotate_if_due(self) -> None: ...


class QueuedSink:
    """Writes messages to another sink from a thread of its own; `write` does not fail.

    64 messages may wait. What is beyond, because the other sink is slow or fails, is dropped, the
    oldest first, counted, and reported in the stream as soon as the other sink works.

    A period of very many connections makes more messages at once than that. For those `write` waits
    while the other sink works, but not longer than a second until the queue is empty again.

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
        """Whether it is closed, and the other sink still has not returned."""
        return self._closing and self._thread.is_alive()

    def write(self, message: "Message") -> None:
        """Let a message wait for the other sink.

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
        """Have the other sink open its file anew, if it has one, and try it at once."""
        with self._changed:
            self._reopening = True
            self._changed.notify()

    def counters(self) -> dict[str, SinkCounters]:
        """What became of the messages, by the sink's name."""
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
        """Ask for the end, as `close` does, but do not wait for it."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, timeout_s: float = LAST_RETRY_S) -> None:
        """Write what waits, close the other sink and end the thread. Closing twice is fine.

        A sink that fails is asked once more; what it refuses then is dropped and counted.

        Args:
            timeout_s: how long a slow sink may take. What still waits then is dropped and counted,
                and the other sink stays open, as it is in use.
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
        """Wait until there is something to do: a message, or a retry, or the end, which is True."""
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
            # What can not be opened now is said when there is something to write.
            with contextlib.suppress(OSError):
                self.sink.rotate_if_due()
        return closing
