"""What the commands need of a gateway, regardless of who moves its packets."""

from typing import TYPE_CHECKING

from netlog._closing import Closing

if TYPE_CHECKING:
    from netlog.errors import NetlogError
    from netlog.gateways.counters import AnyCounters

__all__ = ["AnyGateway"]


class AnyGateway(Closing):
    """A gateway, from `start` to `close`: a relay, an exec or a watch.

    Thread safety: `counters` from any thread between `start` and `close`; everything else from one
        thread, in the network namespace of the gateway.
    """

    def start(self) -> None:
        """Begin to meter. Either everything runs, or nothing is left."""
        raise NotImplementedError

    def stop(self, timeout_s: float | None = None) -> None:
        """End what the gateway runs, then emit the last period.

        Args:
            timeout_s: how long to wait for the sink; None: without limit.

        Raises:
            TimeoutError: the sink did not accept the last messages in time.
        """
        raise NotImplementedError

    def counters(self) -> "AnyCounters":
        """The counters so far."""
        raise NotImplementedError

    @property
    def error(self) -> "NetlogError | None":
        """Why the gateway ended on its own; None: it still runs."""
        return None

    def look(self) -> None:
        """Take note of what has changed since the last call."""

    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that become readable when it is time to `look`."""
        return ()

    def ask_to_end(self) -> None:
        """Ask what the gateway runs to end, without waiting for it."""
