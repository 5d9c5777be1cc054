"""The logger: it polls the observation points, and turns each period into messages for a sink."""

import threading
from collections.abc import Callable, Iterable

from netlog.devices.device import Device
from netlog.errors import StateError
from netlog.logger.counters import LoggerCounters
from netlog.logger.period_config import PeriodConfigs
from netlog.logger.points import ObservationPoints
from netlog.logger.poller import Poller, RunSettings
from netlog.messages.build import EXIT_MODES, smallest_max_bytes
from netlog.model.nodes import NodeSource
from netlog.model.peers import Peer
from netlog.model.routes import RouterConfig
from netlog.sinks.delivery import MessageSink

__all__ = ["Logger", "LoggerCounters"]


class Logger:
    """Meters one node: every poll period, its counts become messages.

    If the devices count into a meter in a file, the logger first emits counts that a process left
    there which died before it stored them. A `DurableSink` then receives them exactly once.

    The sink and the devices belong to the caller, who closes them after `shutdown`.

    Thread safety: every method may be called from any thread. The logger calls the sink from its
        own thread, one message at a time.
    Source: Tailscale's wgengine/netlog, whose names this follows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._in_force = PeriodConfigs()
        self._poller = Poller.idle()

    @property
    def running(self) -> bool:
        """Whether `startup` was called, and `shutdown` was not called since."""
        return self._thread is not None

    def startup(  # noqa: PLR0913 - follows the signature of Tailscale's call
        self,
        node_id: str,
        *,
        tun: Device | None = None,
        sock: Device | None = None,
        sink: MessageSink,
        nodes: NodeSource | None = None,
        poll_period_s: float = 5.0,
        routes: RouterConfig | None = None,
        peers: Iterable[Peer] = (),
        exit_traffic: str | None = None,
        max_bytes: int = 262144,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        """Clear stale statistics, enable the devices' statistics, and begin to poll.

        Counts of a meter in a file are never stale: they are emitted, not cleared.

        Args:
            node_id: this node's stable id, which becomes `nodeId`.
            tun: the device that counts packets inside the tunnel; None: a device without traffic.
            sock: the device that counts the datagrams that carry the tunnel; None: a device without
                traffic. If both count into one `Meter`, one store swaps them together.
            sink: an object with `write(message)`, or a callable with one message as its argument.
                A `DurableSink` reports what it has stored. The counts of a period are cleared only
                then, and offered again until then.
            nodes: the nodes by address, asked now and at the end of each period. With nodes,
                traffic is classified by node, and messages name the nodes.
            poll_period_s: seconds between two polls, more than 0. A poll comes earlier if a table
                is nearly full.
            routes: the router configuration at the start.
            peers: the peers by endpoint. They give physical traffic its source.
            exit_traffic: `anonymize` (the default with nodes), `aggregate` (the default without),
                `log` or `drop`; see `build_messages`.
            max_bytes: the greatest size of a message. More traffic makes more messages.
            refresh: called in the logger's thread at the end of each period, before the messages
                of the period are made; they wait for it. It may call `reconfig_routes` and
                `reconfig_peers`, which then also apply to that period.

        Raises:
            StateError: the logger is running.
            ValueError, TypeError: an argument is wrong. Nothing was started.
        """
        if not isinstance(node_id, str):
            raise TypeError(f"node_id: expected a str, got {type(node_id).__name__}")
        if not poll_period_s > 0:
            raise ValueError(f"poll_period_s: expected more than 0, got {poll_period_s}")
        if nodes is not None and not isinstance(nodes, NodeSource):
            raise TypeError("nodes: expected a source of nodes")
        if exit_traffic is not None and exit_traffic not in EXIT_MODES:
            raise ValueError(f"exit_traffic: expected one of {EXIT_MODES}, got {exit_traffic!r}")
        if max_bytes < (least := smallest_max_bytes(node_id, nodes)):
            raise ValueError(f"max_bytes: expected at least {least}, got {max_bytes}")
        settings = RunSettings(node_id, poll_period_s, exit_traffic, max_bytes)
        with self._lock:
            if self._thread is not None:
                raise StateError("logger: already running")
            points = ObservationPoints(tun, sock)
            poller = Poller(settings, points, sink, self._in_force)
            if routes is not None:
                self._in_force.set_routes(routes)
            self._in_force.set_peers(tuple(peers))
            self._in_force.set_nodes(nodes)
            self._in_force.set_refresh(refresh)
            points.enable(enabled=True)
            if not points.inherits:
                points.discard()
            self._poller = poller
            self._thread = threading.Thread(target=poller.run, name="netlog-logger", daemon=True)
            self._thread.start()

    def reconfig_routes(self, config: RouterConfig) -> None:
        """Set the routes from now on. The old ones also apply until the current period ends."""
        with self._lock:
            if self._thread is None:
                self._in_force.set_routes(config)
            else:
                self._in_force.add_routes(config)

    def reconfig_peers(self, peers: Iterable[Peer]) -> None:
        """Set the peers from now on. The old ones stay known until the current period ends."""
        self._in_force.add_peers(tuple(peers))

    def counters(self) -> LoggerCounters:
        """A copy of the counters since the last startup."""
        return self._poller.counters()

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Disable statistics, emit the partial last period, and stop. A second call does nothing.

        Args:
            timeout_s: how long to wait until the sink has accepted the last messages; None: without
                limit.

        Raises:
            TimeoutError: the sink did not accept them in time. The logger is stopped nevertheless.
        """
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._poller.stop()
        thread.join(timeout_s)
        if thread.is_alive():
            raise TimeoutError(f"logger: the sink needs more than {timeout_s} s")
