"""What a source is: an object that knows the metered overlay."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from netlog.model.nodes import NodeMap
from netlog.model.peers import Peer
from netlog.model.routes import Network

__all__ = ["KeptSource", "Overlay", "Source", "StaticSource"]

_log = logging.getLogger("netlog")

GRACE_S = 10.0
"""As long as a daemon has to end before `netlog run` kills it; a start takes less."""
PASSING = (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, ValueError)
"""A socket or a file is not there yet or no longer, nobody listens on it, or what it has is not
complete: a daemon that starts or ends leaves a status file half written, or an answer half said."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a source knows at one moment. Compared by value.

    Attributes:
        peers: those whose endpoint is known; they fill in the source of physical traffic.
        routes: prefixes that are reached through the overlay.
        local_addrs: this node's own addresses in the overlay.
        nodes: this node, and which node has which address; None: the source knows no nodes.
    """

    peers: tuple[Peer, ...] = ()
    routes: tuple[Network, ...] = ()
    local_addrs: tuple[Network, ...] = ()
    nodes: NodeMap | None = None


@runtime_checkable
class Source(Protocol):
    """An object that knows the overlay. netlog asks it at the end of each period.

    It must answer within 0.5 s, because messages wait for the answer.
    """

    def snapshot(self) -> Overlay:
        """Return the present state of the overlay.

        Raises:
            OSError, ValueError: the source has no answer.
        """


class StaticSource:
    """A source that always gives the same answer.

    Args:
        overlay: the answer.

    Thread safety: any thread.
    """

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    def snapshot(self) -> Overlay:
        """Return the answer."""
        return self._overlay


class KeptSource:
    """A source that always has an answer: if the source behind it fails, the last one.

    If a daemon is not there, or its answer is incomplete, it may just be starting, restarting or
    ending: this is reported and counted only if it lasts for GRACE_S. Every other failure is
    reported at once.

    Args:
        source: the source behind it.
        name: what the log calls it.
        clock_s: a clock that is never set, in seconds.

    Attributes:
        errors: number of times that the source behind it failed.

    Thread safety: one thread at a time; `errors` from any.
    """

    def __init__(
        self, source: Source, name: str, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.errors = 0
        self._clock_s = clock_s
        self._away_since_s: float | None = None
        self._held = 0
        self._why: Exception | None = None
        self._answered = False
        self._source = source
        self._name = name
        self._last = Overlay()
        self._failing = False

    def snapshot(self) -> Overlay:
        """Return the present state; if the source fails, its last answer, if it had one."""
        try:
            self._last = self._source.snapshot()
        except Exception as error:  # noqa: BLE001 - a source must not end the metering
            if self._may_be_starting(error):
                return self._last
            self.errors += 1 + self._held
            self._held = 0
            self._report(error)
        else:
            self._answered = True
            if self._failing:
                _log.warning("%s: available again", self._name)
            self._failing = False
            self._away_since_s, self._held = None, 0
        return self._last

    def end(self) -> None:
        """Report what was held if there was no answer at all: this was no normal end."""
        if self._why is not None and self._held and not self._answered:
            self.errors += self._held
            self._held = 0
            self._report(self._why)

    def _report(self, error: Exception) -> None:
        if not self._failing:
            _log.warning("%s: not available (%s); using its last answer", self._name, error)
        self._failing = True

    def _may_be_starting(self, error: Exception) -> bool:
        """Whether a failure is only held: it may pass, and has not lasted for long yet."""
        if self._failing or not isinstance(error, PASSING):
            return False
        now_s = self._clock_s()
        if self._away_since_s is None:
            self._away_since_s = now_s
        if now_s - self._away_since_s >= GRACE_S:
            return False
        self._held += 1
        self._why = error
        return True
