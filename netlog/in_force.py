"""What was in force in a period: it may change inside of one, and then all of it counts."""

import threading
from dataclasses import dataclass

from netlog.peer_map import Peer
from netlog.routes import RouterConfig

__all__ = ["InForce", "PeriodConfig"]


@dataclass(frozen=True, slots=True)
class PeriodConfig:
    """All that was in force at some moment of a period, oldest first."""

    routes: tuple[RouterConfig, ...]
    peers: tuple[tuple[Peer, ...], ...]


class InForce:
    """Collects what comes into force in the current period.

    Thread safety: any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: tuple[RouterConfig, ...] = (RouterConfig(),)
        self._peers: tuple[tuple[Peer, ...], ...] = ((),)

    def set_routes(self, config: RouterConfig) -> None:
        """As if it had always been so."""
        with self._lock:
            self._routes = (config,)

    def add_routes(self, config: RouterConfig) -> None:
        """From now on; the others hold until the period ends."""
        with self._lock:
            if self._routes[-1] != config:
                self._routes = (*self._routes, config)

    def set_peers(self, peers: tuple[Peer, ...]) -> None:
        """As if it had always been so."""
        with self._lock:
            self._peers = (peers,)

    def add_peers(self, peers: tuple[Peer, ...]) -> None:
        """From now on; the others hold until the period ends."""
        with self._lock:
            self._peers = (*self._peers, peers)

    def end_period(self) -> PeriodConfig:
        """What was in force in the period that ends now; its last is what the next begins with."""
        with self._lock:
            config = PeriodConfig(self._routes, self._peers)
            self._routes, self._peers = self._routes[-1:], self._peers[-1:]
        return config
