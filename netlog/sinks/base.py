"""What the logger asks of a place that messages go to."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from netlog.message import Message

__all__ = ["Sink"]


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
