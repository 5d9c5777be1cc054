"""The routes, peers and nodes of a period. If they change within it, old and new ones apply."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from netlog.model.nodes import NodeMap, NodeSource
from netlog.model.peers import Peer
from netlog.model.routes import RouterConfig

__all__ = ["PeriodConfig", "PeriodConfigs"]

_log = logging.getLogger("netlog")


@dataclass(frozen=True, slots=True)
class PeriodConfig:
    """Everything that was in force at any moment of a period, oldest first.

    Attributes:
        routes: the router configurations.
        peers: the sets of peers.
        nodes: the node maps; None: no nodes are known.
    """

    routes: tuple[RouterConfig, ...]
    peers: tuple[tuple[Peer, ...], ...]
    nodes: tuple[NodeMap, ...] | None


class PeriodConfigs:
    """Collects the routes, peers and nodes that come into force during the current period.

    Thread safety: any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: tuple[RouterConfig, ...] = (RouterConfig(),)
        self._peers: tuple[tuple[Peer, ...], ...] = ((),)
        self._source: NodeSource | None = None
        self._nodes: tuple[NodeMap, ...] = ()
        self._node_errors = 0
        self._refresh: Callable[[], None] | None = None

    def set_routes(self, config: RouterConfig) -> None:
        """Replace the routes for the whole current period."""
        with self._lock:
            self._routes = (config,)

    def add_routes(self, config: RouterConfig) -> None:
        """Set the routes from now on. The others also apply until the period ends."""
        with self._lock:
            if self._routes[-1] != config:
                self._routes = (*self._routes, config)

    def set_peers(self, peers: tuple[Peer, ...]) -> None:
        """Replace the peers for the whole current period."""
        with self._lock:
            self._peers = (peers,)

    def add_peers(self, peers: tuple[Peer, ...]) -> None:
        """Set the peers from now on. The others also apply until the period ends."""
        with self._lock:
            self._peers = (*self._peers, peers)

    def set_nodes(self, source: NodeSource | None) -> None:
        """Set the source of nodes, which is asked now and at the end of each period.

        Raises:
            TypeError: the source does not return a NodeMap or None.
            Exception: anything that the source raises.
        """
        now = None if source is None else source.snapshot()
        if not isinstance(now, NodeMap | None):
            raise TypeError("nodes: expected a source whose snapshot() is a NodeMap")
        nodes = () if now is None else (now,)
        with self._lock:
            self._source, self._nodes, self._node_errors = source, nodes, 0

    def set_refresh(self, refresh: Callable[[], None] | None) -> None:
        """Set the function that is called at the end of each period, to add changes to it."""
        self._refresh = refresh

    @property
    def node_errors(self) -> int:
        """How often the source of nodes failed, or could not use what it found."""
        return self._node_errors + int(getattr(self._source, "errors", 0))

    def end_period(self) -> PeriodConfig:
        """What was in force in the period that ends now. The last of it begins the next period."""
        self._call_refresh()
        self._look_at_nodes()
        with self._lock:
            config = PeriodConfig(self._routes, self._peers, self._nodes or None)
            self._routes, self._peers = self._routes[-1:], self._peers[-1:]
            self._nodes = self._nodes[-1:]
        return config

    def _call_refresh(self) -> None:
        if self._refresh is None:
            return
        try:
            self._refresh()
        except Exception:  # noqa: BLE001 - a user's own code must not end the metering
            _log.exception("cannot refresh peers and routes")

    def _look_at_nodes(self) -> None:
        """Ask for the current nodes. If the source fails, the last ones stay in force."""
        if self._source is None:
            return
        try:
            now = self._source.snapshot()
        except Exception as error:  # noqa: BLE001 - a user's source must not end the metering
            if not self._node_errors:
                _log.warning("nodes: not available; using the last ones: %s", error)
            self._node_errors += 1
            return
        with self._lock:
            if now is not None and now not in self._nodes[-1:]:
                self._nodes = (*self._nodes, now)
