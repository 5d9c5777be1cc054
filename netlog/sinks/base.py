"""What the logger asks of a place that messages go to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from netlog.model.periods import PeriodId

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["DurableSink", "PeriodId", "Reports", "Sink", "SinkCounters"]


@dataclass(frozen=True, slots=True)
class SinkCounters:
    """What became of the messages at one sink.

    Attributes:
        written: messages that the other side has: in the file, or accepted by the receiver.
        pending: messages that wait, in memory or in the spool.
        retried: attempts that were made again after a failure.
        errors: attempts that failed.
        dropped: messages given up; `dropped_packets` and `dropped_bytes` is what their entries
            add up to.
        spool_bytes: what the spool takes on disk; 0 without one.
        spool_age_s: how long the oldest message there has waited.
        last_error: why the last attempt failed; "" since it works.
    """

    written: int = 0
    pending: int = 0
    retried: int = 0
    errors: int = 0
    dropped: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0
    spool_bytes: int = 0
    spool_age_s: float = 0.0
    last_error: str = ""


@runtime_checkable
class Sink(Protocol):
    """A place that messages go to.

    Thread safety: the logger calls `write` from its own thread, one call at a time; `close` is
        called by whoever made the sink, after the logger has stopped.
    """

    def write(self, message: "Message") -> None:
        """Store one message, whole or not at all.

        Args:
            message: one period, or a part of one, of one node.

        Raises:
            OSError: it could not be stored; the same message may be tried again.
        """

    def close(self) -> None:
        """Give up what the sink holds. Closing twice is fine."""


@runtime_checkable
class DurableSink(Sink, Protocol):
    """A sink that stores the messages of a period together, once, and knows that it has.

    The logger calls `begin`, `write` for each message, and `commit`; it clears the counts in the
    meter only after that. If it dies before, its successor offers the same period again, and a sink
    that has committed it says so.

    Thread safety: as `Sink`.
    """

    def begin(self, period: PeriodId) -> bool:
        """Begin to store a period. What an earlier `begin` left uncommitted is forgotten.

        Returns:
            Whether the sink wants the messages; False: it has this period.
        """

    def commit(self) -> None:
        """Make what was written since `begin` durable, all of it or nothing.

        Raises:
            OSError: nothing of it is stored; the period may be offered again.
        """

    def abort(self) -> None:
        """Forget what was written since `begin`."""


@runtime_checkable
class Reports(Protocol):
    """A sink that counts what became of the messages."""

    def counters(self) -> Mapping[str, SinkCounters]:
        """The counters by the name of the sink. Any thread."""
