"""Hand the messages of a period to a durable sink, all of them or none."""

import contextlib
import logging
from collections.abc import Iterator

from netlog.message import Message
from netlog.sinks.base import DurableSink, PeriodId

__all__ = ["DurableDelivery", "MessageFault"]

_log = logging.getLogger("netlog")


class MessageFault(Exception):  # noqa: N818 - what it is caused by is the error
    """Messages could not be made; its cause says why."""


class DurableDelivery:
    """Stores periods in one durable sink.

    What the sink does not take stays where it is: in the meter, from where the same period is
    offered again.

    Thread safety: one thread; the counters may be read from any.
    """

    pending = 0
    dropped = 0

    def __init__(self, sink: DurableSink) -> None:
        self._sink = sink
        self._failing = False
        self.written = 0
        self.errors = 0

    def store(self, period: PeriodId, messages: Iterator[Message]) -> bool:
        """Store a period, unless the sink has it.

        Args:
            period: names it.
            messages: its messages, made as they are asked for.

        Returns:
            Whether the sink has the period now.

        Raises:
            MessageFault: by `messages`; nothing is stored.
        """
        written = 0
        # A period without messages leaves no trace anywhere.
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
        """Nothing is kept here."""

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        if not self._failing:
            _log.warning(
                "no sink could store the messages; their counts stay in the meter: %s: %s",
                type(error).__name__,
                error,
            )
        self._failing = True
        self._abort()

    def _abort(self) -> None:
        with contextlib.suppress(Exception):
            self._sink.abort()
