"""What a source is: an object that knows the metered overlay."""

import logging
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from netlog.model.nodes import NodeMap
from netlog.model.peers import Peer
from netlog.model.routes import Network

__all__ = ["KeptSource", "Overlay", "Source", "StaticSource"]

_log = logging.getLogger("netlog")


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

    Args:
        source: the source behind it.
        name: what the log calls it.

    Attributes:
        errors: number of times that the source behind it failed.

    Thread safety: one thread at a time; `errors` from any.
    """

    def __init__(self, source: Source, name: str) -> None:
        self.errors = 0
        self._source = source
        self._name = name
        self._last = Overlay()
        self._failing = False

    def snapshot(self) -> Overlay:
        """Return the present state; if the source fails, its last answer, if it had one."""
        try:
            self._last = self._source.snapshot()
        except Exception as error:  # noqa: BLE001 - a source must not end the metering
            self.errors += 1
            if not self._failing:
                _log.warning("%s: not available (%s); using its last answer", self._name, error)
            self._failing = True
        else:
            if self._failing:
                _log.warning("%s: available again", self._name)
            self._failing = False
        return self._last
