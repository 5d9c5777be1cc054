"""What the logger expects of a sink."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from netlog.model.periods import PeriodId

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["DurableSink", "PeriodId", "Reports", "Sink", "SinkCounters"]


@dataclass(frozen=True, slots=True)
class SinkCounters:
    """What happened to the messages at one sink.

    Attributes:
        written: messages that arrived: in the file, or accepted by the receiver.
        pending: messages that wait, in memory or in the spool.
        retried: attempts that repeated a failed one.
        errors: attempts that failed.
        dropped: messages given up; `dropped_packets` and `dropped_bytes` are the sums of their
            entries.
        spool_bytes: disk space that the spool takes; 0 without a spool.
        spool_age_s: how long the oldest message in the spool has waited, in seconds.
        last_error: why the last attempt failed; "" if it did not fail.
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

    Thread safety: the logger calls `write` from its own thread, one call at a time. The owner of
        the sink calls `close`, after the logger has stopped.
    """

    def write(self, message: "Message") -> None:
        """Store one message, completely or not at all.

        Args:
            message: one period of one node, or a part of it.

        Raises:
            OSError: the message could not be stored; the caller may try the same message again.
        """

    def close(self) -> None:
        """Release what the sink holds. Closing twice is fine."""


@runtime_checkable
class DurableSink(Sink, Protocol):
    """A sink that stores the messages of a period together, exactly once, and remembers it.

    The logger calls `begin`, `write` for each message, and `commit`. Only then does it clear the
    counts in the meter. If the logger dies before that, its successor offers the same period
    again; a sink that has committed the period declines it in `begin`.

    Thread safety: as `Sink`.
    """

    def begin(self, period: PeriodId) -> bool:
        """Begin to store a period. Writes of an earlier `begin` without a commit are forgotten.

        Returns:
            Whether the sink wants the messages; False: it has already stored this period.
        """

    def commit(self) -> None:
        """Make everything written since `begin` durable, all of it or nothing.

        Raises:
            OSError: nothing of the period is stored; it may be offered again.
        """

    def abort(self) -> None:
        """Forget what was written since `begin`."""


@runtime_checkable
class Reports(Protocol):
    """A sink that counts what happened to its messages."""

    def counters(self) -> Mapping[str, SinkCounters]:
        """Return the counters by the name of the sink. Any thread."""
