"""A watch: metering a gateway that is not ours by taps on its interfaces."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from netlog._closing import Closing
from netlog.errors import DeviceError, StateError
from netlog.followed_tap import FollowedTap
from netlog.interfaces import LinkEvents, addresses_of, index_of
from netlog.logger import Logger, LoggerCounters
from netlog.meter import Meter
from netlog.meter_device import MeterDevice
from netlog.nodes import NodeSource
from netlog.peer_map import Peer
from netlog.routes import Network, RouterConfig
from netlog.sinks import Sink
from netlog.sources import KeptSource, Overlay, Source, StaticSource
from netlog.tap import Tap, TapCounters, check_rights

if TYPE_CHECKING:
    from netlog.endpoints import IPAddress

__all__ = ["SockPoint", "Watch", "WatchCounters", "WatchSettings"]


@dataclass(frozen=True, slots=True)
class SockPoint:
    """Where the datagrams that carry the tunnel are seen.

    Attributes:
        port: the local UDP port.
        interface: where they cross; "": everywhere.
    """

    port: int
    interface: str = ""

    def __str__(self) -> str:
        return f"{self.port}@{self.interface}" if self.interface else str(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is watched, and how it is reported.

    Attributes:
        node_id: `nodeId` of the messages.
        tun: the interface whose packets are virtual traffic.
        socks: where the datagrams that carry them are seen.
        routes: how traffic is classified; the addresses of `tun` are added, and what `source` says.
        peers: who is behind which endpoint; those of `source` are added, and win.
        nodes: who is who in the overlay, or None.
        source: who knows more of it, or None; `source_name` is what reports call it.
        exit_traffic, poll_period_s, max_bytes: as for `Logger.startup`.
        max_flows: connections that a thread can count in a period.
        threads: of each tap.
    """

    node_id: str
    tun: str
    socks: tuple[SockPoint, ...] = ()
    routes: RouterConfig = field(default_factory=RouterConfig)
    peers: tuple[Peer, ...] = ()
    nodes: NodeSource | None = None
    source: Source | None = None
    source_name: str = "source"
    exit_traffic: str | None = None
    poll_period_s: float = 5.0
    max_bytes: int = 262144
    max_flows: int = 65536
    threads: int = 1


@dataclass(frozen=True, slots=True)
class WatchCounters:
    """What a watch has done so far: at its taps by their names, in all, and of its source."""

    taps: dict[str, TapCounters]
    logger: LoggerCounters
    source_errors: int = 0


class Watch(Closing):
    """Taps on the interfaces of a gateway, and the logger that reports what they count.

    An interface that is not there yet is waited for; one that is removed and made again is
    followed. Both happen in `look`, which the owner calls whenever `fileno` is ready to read, and
    every so often.

    Args:
        settings: what is watched.
        sink: where the messages go; it stays the caller's to close, after `close`.

    Thread safety: `start`, `look` and `close` belong to one thread, in the network namespace of the
        gateway; `counters` may be called from any.
    """

    def __init__(self, settings: WatchSettings, sink: Sink) -> None:
        self._settings = settings
        self._sink = sink
        self._stack = contextlib.ExitStack()
        self._logger = Logger()
        self._points: list[FollowedTap] = []
        self._events: LinkEvents | None = None
        self._source = KeptSource(settings.source or StaticSource(Overlay()), settings.source_name)
        self._known = Overlay()
        self._peers: tuple[Peer, ...] = ()  # as the logger has them
        self._routes = settings.routes  # likewise
        self._made_of: tuple[tuple[Network, ...], tuple[Network, ...], tuple[IPAddress, ...]] = (
            (),
            (),
            (),
        )

    def start(self) -> None:
        """Open a tap on what is there, and begin to report.

        Raises:
            DeviceError: CAP_NET_RAW is missing.
            StateError: it was started before.
        """
        if self._events is not None:
            raise StateError("watch: already started")
        check_rights()
        settings = self._settings
        with contextlib.ExitStack() as stack:
            self._events = stack.enter_context(LinkEvents())
            lanes = settings.threads * (1 + len(settings.socks))
            meter = stack.enter_context(Meter(settings.max_flows, max_lanes=lanes))
            self._points = _points(settings, meter)
            stack.callback(self.stop)
            device = MeterDevice(meter)
            self._known = self._source.snapshot()
            self._peers = _merged(settings.peers, self._known.peers)
            self._logger.startup(
                settings.node_id,
                tun=device,
                sock=device,
                sink=self._sink,
                nodes=settings.nodes,
                poll_period_s=settings.poll_period_s,
                routes=self._router(self._known),
                peers=self._peers,
                exit_traffic=settings.exit_traffic,
                max_bytes=settings.max_bytes,
                refresh=self._refresh,
            )
            # Not before, as the logger begins by clearing what is stale.
            self.look()
            self._stack = stack.pop_all()

    def fileno(self) -> int:
        """A descriptor that is ready to read when it is time to `look`, for select(2)."""
        if self._events is None:
            raise StateError("watch: not started")
        return self._events.fileno()

    def look(self) -> None:
        """Tap what has appeared, let go of what is gone.

        Raises:
            DeviceError: CAP_NET_RAW is missing by now.
        """
        if self._events is not None:
            self._events.take()
        for point in self._points:
            point.look()

    @property
    def waiting(self) -> bool:
        """Whether an interface is not there."""
        return any(not point.open for point in self._points)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the taps, then emit the last period.

        Args:
            timeout_s: how long to wait for the sink; None: as long as it takes.

        Raises:
            TimeoutError: the sink did not take the last messages in time.
        """
        for point in self._points:
            point.close()
        self._logger.shutdown(timeout_s)

    def close(self) -> None:
        """Stop, and give up what is held. Closing twice is fine."""
        self._stack.close()

    def counters(self) -> WatchCounters:
        """What taps and logger have done so far."""
        return WatchCounters(
            {point.name: point.counters() for point in self._points},
            self._logger.counters(),
            self._source.errors,
        )

    # -- inside -----------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Tell the logger what the source knows by now; in the logger's thread."""
        before, self._known = self._known, self._source.snapshot()
        # A tap is up to 50 ms behind: datagrams of the last period are counted in this one, so the
        # endpoints of then stay known, where nobody else has them by now.
        now = {peer.endpoint for peer in self._known.peers}
        stale = tuple(peer for peer in before.peers if peer.endpoint not in now)
        peers = _merged(self._settings.peers, stale, self._known.peers)
        if peers != self._peers:
            self._peers = peers
            self._logger.reconfig_peers(peers)
        routes = self._routes
        if self._router(self._known) is not routes:
            self._logger.reconfig_routes(self._routes)

    def _router(self, known: Overlay) -> RouterConfig:
        """The routes of now; those of the settings, the source's and the interface's addresses."""
        own: tuple[IPAddress, ...] = ()
        with contextlib.suppress(DeviceError):
            own = addresses_of(index_of(self._settings.tun))
        # An interface that is gone for the moment has the addresses that it had.
        made_of = (known.local_addrs, known.routes, own or self._made_of[2])
        if made_of != self._made_of:
            self._made_of = made_of
            base = self._settings.routes
            self._routes = RouterConfig(
                local_addrs=(*base.local_addrs, *known.local_addrs, *map(str, made_of[2])),
                routes=(*base.routes, *known.routes),
                subnet_routes=base.subnet_routes,
            )
        return self._routes


def _points(settings: WatchSettings, meter: Meter) -> list[FollowedTap]:
    """A tap for the TUN, and one for each socket."""
    made = [
        FollowedTap(
            f"tun {settings.tun}",
            settings.tun,
            partial(Tap.on_tun, settings.tun, meter=meter, threads=settings.threads),
        )
    ]
    for sock in settings.socks:
        interface = sock.interface or None
        opened = partial(Tap.on_sock, sock.port, interface, meter=meter, threads=settings.threads)
        made.append(FollowedTap(f"sock {sock}", interface, opened))
    return made


def _merged(*sets: Iterable[Peer]) -> tuple[Peer, ...]:
    """Peers of several sets; of those with the same endpoint the last one's."""
    return tuple({peer.endpoint: peer for peers in sets for peer in peers}.values())
