"""The logger: polls the observation points, and turns each period into messages for a sink."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from netlog.delivery import Delivery, MessageSink
from netlog.devices import Device
from netlog.errors import StateError
from netlog.message import EXIT_MODES, iter_messages, smallest_max_bytes
from netlog.meter import REASONS
from netlog.observation import Observation, Reading
from netlog.peer_map import Peer
from netlog.period import PeriodClock
from netlog.physical import fill_sources
from netlog.routes import RouterConfig

__all__ = ["Logger", "LoggerCounters"]

_log = logging.getLogger("netlog")

COUNTS = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")

LATE_POLL_PERIODS = 1.5
"""A poll counts as late when it comes after so many periods."""

LAST_POLLS = 20
"""Extractions at shutdown until no writer is late: at 0.1 s each, 2 s for one that hangs."""


@dataclass(slots=True)
class LoggerCounters:
    """What a logger has seen and done since startup.

    Attributes:
        polls: extractions. `late_polls` of them came later than 1.5 periods.
        late_lanes: times that a writer sat in a batch so long that its counts came a poll later.
        device_errors: extractions at which a user's own device raised.
        connections: rows drained at the TUN. `endpoints`: rows drained at the socket.
        tun, sock: tx_packets, tx_bytes, rx_packets, rx_bytes in all, unattributed included.
        unattributed: packets by reason at the TUN, and in `sock_unattributed` at the socket.
        failed_periods: periods whose messages could not be made: a defect, see the log.
        messages: messages made. `written`, `pending`, `dropped`: what became of them.
        sink_errors: times that the sink raised.
    """

    polls: int = 0
    late_polls: int = 0
    late_lanes: int = 0
    device_errors: int = 0
    connections: int = 0
    endpoints: int = 0
    tun: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    sock: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    sock_unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    failed_periods: int = 0
    messages: int = 0
    written: int = 0
    pending: int = 0
    dropped: int = 0
    sink_errors: int = 0


@dataclass(frozen=True, slots=True)
class _Settings:
    """What stays for one run of the logger."""

    node_id: str
    poll_period_s: float
    exit_traffic: str
    max_bytes: int


class Logger:
    """Meters one node: every poll period its counts become messages.

    The sink belongs to the caller, who closes it after `shutdown`. The devices too.

    Thread safety: every method may be called from any thread. The sink is called from the logger's
        own thread, one message at a time.
    Source: Tailscale's wgengine/netlog, whose names this follows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._routes: list[RouterConfig] = [RouterConfig()]
        self._peers: list[tuple[Peer, ...]] = [()]
        self._counters = LoggerCounters()
        self._observation = Observation(None, None)

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
        nodes: None = None,
        poll_period_s: float = 5.0,
        routes: RouterConfig | None = None,
        peers: Iterable[Peer] = (),
        exit_traffic: str = "aggregate",
        max_bytes: int = 262144,
    ) -> None:
        """Clear stale statistics, enable the devices' statistics and begin to poll.

        Args:
            node_id: this node's stable id; becomes `nodeId`.
            tun: where packets inside the tunnel are counted; None is a device without traffic.
            sock: where the datagrams that carry it are counted; None likewise. If both count into
                one `Meter`, one store swaps them together.
            sink: an object with `write(message)`, or a callable of one message.
            nodes: None; a source of nodes is not supported yet.
            poll_period_s: seconds between two polls, more than 0. A table that is nearly full
                makes a poll come early.
            routes: the router configuration at start.
            peers: who is behind which endpoint; fills the source of physical traffic.
            exit_traffic: `aggregate`, `log` or `drop`.
            max_bytes: the size that a message never exceeds; more traffic makes more messages.

        Raises:
            StateError: the logger is running.
            ValueError, TypeError: an argument is wrong; nothing was started.
        """
        if not isinstance(node_id, str):
            raise TypeError(f"node_id: expected a str, got {type(node_id).__name__}")
        if nodes is not None:
            raise ValueError("nodes: a source of nodes is not supported yet")
        if not poll_period_s > 0:
            raise ValueError(f"poll_period_s: expected more than 0, got {poll_period_s}")
        if exit_traffic not in EXIT_MODES:
            raise ValueError(f"exit_traffic: expected one of {EXIT_MODES}, got {exit_traffic!r}")
        if max_bytes < (least := smallest_max_bytes(node_id)):
            raise ValueError(f"max_bytes: expected at least {least}, got {max_bytes}")
        settings = _Settings(node_id, poll_period_s, exit_traffic, max_bytes)
        delivery = Delivery(sink)
        with self._lock:
            if self._thread is not None:
                raise StateError("logger is already running")
            observation = Observation(tun, sock)
            if routes is not None:
                self._routes = [routes]
            self._peers = [tuple(peers)]
            observation.enable(enabled=True)
            observation.discard()
            self._observation = observation
            self._counters = LoggerCounters()
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._run,
                args=(settings, observation, delivery, self._stopping, self._counters),
                name="netlog-logger",
                daemon=True,
            )
            self._thread.start()

    def reconfig_routes(self, config: RouterConfig) -> None:
        """Set the routes from now on. The current period is classified with the old ones too."""
        with self._lock:
            if self._thread is None:
                self._routes = [config]
            elif self._routes[-1] != config:
                self._routes = [*self._routes, config]

    def reconfig_peers(self, peers: Iterable[Peer]) -> None:
        """Set the peers from now on. Those of the current period stay known until it ends."""
        with self._lock:
            self._peers = [*self._peers, tuple(peers)]

    def counters(self) -> LoggerCounters:
        """A copy of the counters since the last startup."""
        counts = self._counters
        copied = LoggerCounters(**{name: getattr(counts, name) for name in counts.__slots__})
        for name in ("tun", "sock", "unattributed", "sock_unattributed"):
            setattr(copied, name, dict(getattr(counts, name)))
        return copied

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
            self._stopping.set()
            self._observation.wake()
        thread.join(timeout_s)
        if thread.is_alive():
            raise TimeoutError(f"logger: the sink took longer than {timeout_s} s")

    # -- the logger's own thread ------------------------------------------------------------------

    def _run(
        self,
        settings: _Settings,
        observation: Observation,
        delivery: Delivery,
        stopping: threading.Event,
        counters: LoggerCounters,
    ) -> None:
        clock = PeriodClock()
        polled_s = time.monotonic()
        try:
            while not stopping.is_set():
                due_s = polled_s + settings.poll_period_s
                observation.wait(max(0.0, due_s - time.monotonic()), stopping)
                if stopping.is_set():
                    break
                now_s = time.monotonic()
                counters.late_polls += now_s - polled_s > LATE_POLL_PERIODS * settings.poll_period_s
                polled_s = now_s
                self._poll(settings, clock, observation, delivery, counters)
            observation.enable(enabled=False)
            for _ in range(LAST_POLLS):
                if not self._poll(settings, clock, observation, delivery, counters):
                    break
        except StateError:
            _log.exception("a meter was closed under its logger: what it held is lost")
        delivery.flush()
        delivery.abandon()
        _account_delivery(counters, delivery)

    def _poll(
        self,
        settings: _Settings,
        clock: PeriodClock,
        observation: Observation,
        delivery: Delivery,
        counters: LoggerCounters,
    ) -> int:
        """One period: extract, emit, clear. Returns how many writers were late."""
        reading = observation.extract()
        start_ns, end_ns = clock.end_period()
        with self._lock:
            routes, peers = self._routes, self._peers
            # What was in force at the end of this period is all that the next one begins with.
            self._routes, self._peers = routes[-1:], peers[-1:]
        _account_reading(counters, reading)
        try:
            delivery.flush()
            for message in iter_messages(
                node_id=settings.node_id,
                start=start_ns,
                end=end_ns,
                tun=reading.tun,
                sock=fill_sources(reading.sock, peers),
                routes=routes,
                exit_traffic=settings.exit_traffic,
                max_bytes=settings.max_bytes,
            ):
                counters.messages += 1
                delivery.write(message)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the metering either
            counters.failed_periods += 1
            _log.exception("a period's messages could not be made")
        reading.clear()
        _account_delivery(counters, delivery)
        return reading.late_lanes


def _account_reading(counters: LoggerCounters, reading: Reading) -> None:
    counters.polls += 1
    counters.late_lanes += reading.late_lanes
    counters.device_errors += reading.device_errors
    counters.connections += len(reading.tun)
    counters.endpoints += len(reading.sock)
    for name in COUNTS:
        counters.tun[name] += int(reading.tun[name].sum(dtype=np.uint64))
        counters.sock[name] += int(reading.sock[name].sum(dtype=np.uint64))
    for reason in REASONS:
        counters.unattributed[reason] += reading.tun_unattributed[reason]
        counters.sock_unattributed[reason] += reading.sock_unattributed[reason]


def _account_delivery(counters: LoggerCounters, delivery: Delivery) -> None:
    counters.written = delivery.written
    counters.pending = delivery.pending
    counters.dropped = delivery.dropped
    counters.sink_errors = delivery.errors
