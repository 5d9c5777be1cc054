"""The logger: polls the observation points, and turns each period into messages for a sink."""

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
    """Meters one node: every poll period its counts become messages.

    If the devices count into a meter that lies in a file, what a predecessor that died had counted
    there and not stored is emitted first; a `DurableSink` then has it exactly once.

    The sink belongs to the caller, who closes it after `shutdown`. The devices too.

    Thread safety: every method may be called from any thread. The sink is called from the logger's
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
        """Whether `startup` was called and `shutdown` was not."""
        return self._thread is not None

    def startup(  # noqa: PLR0913 - the call of the system that this follows
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
        """Clear stale statistics, enable the devices' statistics and begin to poll.

        In a meter that lies in a file nothing is stale: it is emitted.

        Args:
            node_id: this node's stable id; becomes `nodeId`.
            tun: where packets inside the tunnel are counted; None is a device without traffic.
            sock: where the datagrams that carry it are counted; None likewise. If both count into
                one `Meter`, one store swaps them together.
            sink: an object with `write(message)`, or a callable of one message. Of a `DurableSink`
                it is known what it has: the counts of a period are cleared when that has stored it,
                and offered again until then.
            nodes: who has which address; asked now and at the end of each period. With it traffic
                is classified by node, and messages tell of the nodes.
            poll_period_s: seconds between two polls, more than 0. A table that is nearly full
                makes a poll come early.
            routes: the router configuration at start.
            peers: who is behind which endpoint; fills the source of physical traffic.
            exit_traffic: `anonymize` (the default with nodes), `aggregate` (the default without),
                `log` or `drop`; see `build_messages`.
            max_bytes: the size that a message never exceeds; more traffic makes more messages.
            refresh: called in the logger's thread at the end of each period, before its messages
                are made; may call `reconfig_routes` and `reconfig_peers`, which then hold for that
                period too. The messages wait for it.

        Raises:
            StateError: the logger is running.
            ValueError, TypeError: an argument is wrong; nothing was started.
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
                raise StateError("logger is already running")
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
        """Set the routes from now on. The current period is classified with the old ones too."""
        with self._lock:
            if self._thread is None:
                self._in_force.set_routes(config)
            else:
                self._in_force.add_routes(config)

    def reconfig_peers(self, peers: Iterable[Peer]) -> None:
        """Set the peers from now on. Those of the current period stay known until it ends."""
        self._in_force.add_peers(tuple(peers))

    def counters(self) -> LoggerCounters:
        """A copy of the counters since the last startup."""
        return self._poller.counters()

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Disable statistics, emit the partial last period, and stop. A stopped logger stays so.

        Args:
            timeout_s: how long to wait for the sink to take the last messages; None: as long as it
                takes.

        Raises:
            TimeoutError: the sink did not take them in time. The logger is stopped all the same.
        """
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._poller.stop()
        thread.join(timeout_s)
        if thread.is_alive():
            raise TimeoutError(f"logger: the sink took longer than {timeout_s} s")
