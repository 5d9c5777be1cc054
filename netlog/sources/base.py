"""What a source is: somebody who knows the overlay that is metered."""

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
    """What a source knows at one moment; compared by its values.

    Attributes:
        peers: those whose endpoint is known; fill the source of physical traffic.
        routes: prefixes that are reached through the overlay.
        local_addrs: this node's own addresses in the overlay.
        nodes: this node, and who has which address; None: the source knows no nodes.
    """

    peers: tuple[Peer, ...] = ()
    routes: tuple[Network, ...] = ()
    local_addrs: tuple[Network, ...] = ()
    nodes: NodeMap | None = None


@runtime_checkable
class Source(Protocol):
    """Somebody who knows the overlay; asked at the end of each period.

    An answer may take half a second at most: messages wait for it.
    """

    def snapshot(self) -> Overlay:
        """What is so now.

        Raises:
            OSError, ValueError: it can not be had.
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
        """The answer."""
        return self._overlay


class KeptSource:
    """A source that is never without an answer: while the one behind it is down, its last one.

    Args:
        source: the one behind.
        name: what the log calls it.

    Attributes:
        errors: times that it could not be had.

    Thread safety: one thread at a time; `errors` from any.
    """

    def __init__(self, source: Source, name: str) -> None:
        self.errors = 0
        self._source = source
        self._name = name
        self._last = Overlay()
        self._failing = False

    def snapshot(self) -> Overlay:
        """What is so now, or was when it could be had; at first nothing."""
        try:
            self._last = self._source.snapshot()
        except Exception as error:  # noqa: BLE001 - a source must not end the metering
            self.errors += 1
            if not self._failing:
                _log.warning("%s: can not be had, going by its last answer: %s", self._name, error)
            self._failing = True
        else:
            if self._failing:
                _log.warning("%s: can be had again", self._name)
            self._failing = False
        return self._last
