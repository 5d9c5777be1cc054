"""Several sinks as one: each has every message, whatever becomes of the others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netlog.delivery import Delivery
from netlog.sinks.base import Sink, SinkCounters

if TYPE_CHECKING:
    from netlog.message import Message

__all__ = ["SinkGroup"]


class SinkGroup:
    """Writes each message to every sink; it never fails itself.

    What a sink refuses waits for it to work again, within a bound, and does not hold up the others.

    Args:
        sinks: the sinks, by the name that reports call them.

    Thread safety: one thread at a time; `counters` may be read from any.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)
        self._deliveries = {name: Delivery(sink) for name, sink in self._sinks.items()}

    def write(self, message: "Message") -> None:
        """Write one message to every sink, after those that it refused before."""
        for delivery in self._deliveries.values():
            delivery.flush()
            delivery.write(message)

    def counters(self) -> dict[str, SinkCounters]:
        """What became of the messages, by the sink's name."""
        return {
            name: SinkCounters(
                written=delivery.written,
                pending=delivery.pending,
                dropped=delivery.dropped,
                errors=delivery.errors,
            )
            for name, delivery in self._deliveries.items()
        }

    def close(self) -> None:
        """Try once more what is pending, then close every sink."""
        for name, delivery in self._deliveries.items():
            delivery.flush()
            delivery.abandon()
            self._sinks[name].close()
