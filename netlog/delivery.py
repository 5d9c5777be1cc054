"""Hand messages to a sink; keep what it refuses, within a bound, for the next try."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from netlog.message import Message

if TYPE_CHECKING:
    from netlog.sinks.base import PeriodId

__all__ = ["Delivery", "MessageSink"]

_log = logging.getLogger("netlog")

MAX_PENDING = 64
"""Messages that wait for a sink that fails: at 256 KiB each, 16 MiB at the most."""


class _Writes(Protocol):
    def write(self, message: Message, /) -> object: ...


MessageSink: TypeAlias = _Writes | Callable[[Message], object]
"""Where messages go: an object with `write(message)`, or a callable of one message."""


class Delivery:
    """Writes messages in order to one sink that may fail for a while.

    A sink that raises is tried again with the next period's messages. What it refused waits, at
    most `MAX_PENDING` messages; beyond that the oldest is dropped and counted.

    Thread safety: one thread; the counters may be read from any.
    """

    def __init__(self, sink: MessageSink) -> None:
        write = getattr(sink, "write", sink)
        if not callable(write):
            raise TypeError("sink: expected an object with write(message), or a callable")
        self._write: Callable[[Message], object] = write
        self._pending: deque[Message] = deque()
        self._failing = False
        self.written = 0
        self.errors = 0
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Messages that wait for the sink to work again."""
        return len(self._pending)

    def store(self, _period: "PeriodId", messages: Iterable[Message]) -> bool:
        """Write what is pending, and then the messages of a period.

        Returns:
            True: what the sink refuses is kept here.
        """
        self.flush()
        for message in messages:
            self.write(message)
        return True

    def write(self, message: Message) -> None:
        """Write what is pending and then `message`, or let it wait with the others."""
        self._pending.append(message)
        if self._failing and len(self._pending) > 1:
            # The sink failed for an older message of this period already.
            self._shed()
            return
        self.flush()

    def flush(self) -> None:
        """Try the sink again with what is pending; it never raises."""
        while self._pending:
            try:
                self._write(self._pending[0])
            except Exception as error:  # noqa: BLE001 - a user's sink must not end the polling
                self._failed(error)
                return
            self._pending.popleft()
            self.written += 1
            if self._failing:
                self._failing = False
                _log.warning("sink works again; %d messages were dropped so far", self.dropped)

    def close(self) -> None:
        """Try once more, and give up on what the sink still refuses."""
        self.flush()
        self.abandon()

    def abandon(self) -> None:
        """Give up on what is pending: it is dropped and counted."""
        self.dropped += len(self._pending)
        self._pending.clear()

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        if not self._failing:
            _log.warning("sink failed, will try again: %s: %s", type(error).__name__, error)
        self._failing = True
        self._shed()

    def _shed(self) -> None:
        while len(self._pending) > MAX_PENDING:
            self._pending.popleft()
            self.dropped += 1
