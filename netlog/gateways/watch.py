"""A watch: it meters a gateway of another program by taps on its interfaces."""

import contextlib
from dataclasses import dataclass
from functools import partial

from netlog.config.external import WatchConfig
from netlog.devices.followed_tap import FollowedTap
from netlog.devices.tap import Tap, check_rights
from netlog.errors import StateError
from netlog.gateways.base import AnyGateway
from netlog.gateways.counters import WatchCounters
from netlog.gateways.external import ExternalLogger
from netlog.gateways.settings import ExternalSettings, external_settings
from netlog.meter.meter import Meter
from netlog.netlink.interfaces import LinkEvents
from netlog.sinks import Sink

__all__ = ["SockPoint", "Watch", "WatchCounters", "WatchSettings", "watch_settings"]


@dataclass(frozen=True, slots=True)
class SockPoint:
    """A local UDP port whose datagrams carry the tunnel.

    Attributes:
        port: the local UDP port.
        interface: the interface that the datagrams cross; "": all interfaces.
    """

    port: int
    interface: str = ""

    def __str__(self) -> str:
        return f"{self.port}@{self.interface}" if self.interface else str(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings(ExternalSettings):
    """What is watched, and how it is reported.

    Attributes:
        tun: the interface whose packets are virtual traffic.
        socks: the ports whose datagrams carry the tunnel.
        threads: threads of each tap.
    """

    tun: str
    socks: tuple[SockPoint, ...] = ()
    threads: int = 1


def watch_settings(config: WatchConfig) -> WatchSettings:
    """The settings of a configuration with a node id.

    Raises:
        ConfigError: the file of nodes is wrong.

    Thread safety: any thread.
    """
    return WatchSettings(
        tun=config.tun.name,
        socks=tuple(SockPoint(sock.port, sock.interface or "") for sock in config.socks),
        threads=config.threads,
        **external_settings(config),
    )


class Watch(AnyGateway):
    """Taps on the interfaces of a gateway, and the logger that reports what they count.

    If an interface does not exist yet, the watch waits for it. If an interface is removed and
    created again, the watch taps the new one. Both happen in `look`: the owner calls it when one of
    `descriptors` becomes readable, and also from time to time.

    Args:
        settings: what is watched.
        sink: the destination of the messages. The caller closes it, after `close`.

    Thread safety: `start`, `look` and `close` from one thread, in the network namespace of the
        gateway; `counters` from any thread.
    """

    def __init__(self, settings: WatchSettings, sink: Sink) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._logger = ExternalLogger(settings, sink, lambda: (settings.tun,))
        self._points: list[FollowedTap] = []
        self._events: LinkEvents | None = None

    def start(self) -> None:
        """Tap the interfaces that exist, and begin to report.

        Raises:
            DeviceError: CAP_NET_RAW is missing.
            MeterFileError: the meter's file cannot be used.
            StateError: the watch was started before.
        """
        if self._events is not None:
            raise StateError("watch: already started")
        check_rights()
        settings = self._settings
        with contextlib.ExitStack() as stack:
            self._events = stack.enter_context(LinkEvents())
            lanes = settings.threads * (1 + len(settings.socks))
            meter = self._logger.open_meter(stack, lanes)
            self._points = _points(settings, meter)
            stack.callback(self.stop)
            self._logger.start(meter)
            # Only after the logger has started, because it clears older counts at its start.
            self.look()
            self._stack = stack.pop_all()

    def descriptors(self) -> tuple[int, ...]:
        """The descriptor that becomes readable when it is time to `look`; empty before `start`."""
        return () if self._events is None else (self._events.fileno(),)

    def look(self) -> None:
        """Tap interfaces that have appeared, and close the taps of those that are gone.

        Raises:
            DeviceError: the process has lost CAP_NET_RAW.
        """
        if self._events is not None:
            self._events.take()
        for point in self._points:
            point.look()

    @property
    def waiting(self) -> bool:
        """Whether an interface is missing."""
        return any(not point.open for point in self._points)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the taps, then emit the last period.

        Args:
            timeout_s: how long to wait for the sink; None: without limit.

        Raises:
            TimeoutError: the sink did not accept the last messages in time.
        """
        for point in self._points:
            point.close()
        self._logger.stop(timeout_s)

    def close(self) -> None:
        """Stop, and close everything. A second call does nothing."""
        self._stack.close()

    def counters(self) -> WatchCounters:
        """The counters of taps and logger so far."""
        return WatchCounters(
            {point.name: point.counters() for point in self._points},
            self._logger.counters(),
            self._logger.source_errors,
        )


def _points(settings: WatchSettings, meter: Meter) -> list[FollowedTap]:
    """Make a tap for the TUN, and one for each socket."""
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
