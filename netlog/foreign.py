"""A gateway that is not ours: what is said of it, and the logger that reports on it."""

import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from netlog._values import Text
from netlog.gateway import peers_of
from netlog.gateway_config import ForeignConfig, NodeConfig
from netlog.kept_meter import open_kept_meter
from netlog.known_overlay import KnownOverlay, OverlaySettings
from netlog.logger import Logger, LoggerCounters
from netlog.meter import Meter
from netlog.meter_device import MeterDevice
from netlog.node_file import NodeFile
from netlog.nodes import NodeSource
from netlog.peer_map import Peer
from netlog.routes import RouterConfig
from netlog.sinks import Sink
from netlog.source_config import open_source
from netlog.sources import KeptSource, Source

__all__ = ["ForeignLogger", "ForeignSettings", "foreign_settings", "with_node"]

Config = TypeVar("Config", bound=ForeignConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSettings:
    """How a gateway that is not ours is reported.

    Attributes:
        node_id: `nodeId` of the messages.
        routes: how traffic is classified; the addresses of the TUN are added, and what `source`
            says.
        peers: who is behind which endpoint; those of `source` are added, and win.
        nodes: who is who in the overlay; None: as `source` says.
        source: who knows more of it, or None; `source_name` is what reports call it.
        exit_traffic, poll_period_s, max_bytes: as for `Logger.startup`.
        max_flows: connections that a thread can count in a period.
        meter: the file that the meter lies in, or None.
    """

    node_id: str
    routes: RouterConfig = field(default_factory=RouterConfig)
    peers: tuple[Peer, ...] = ()
    nodes: NodeSource | None = None
    source: Source | None = None
    source_name: str = "source"
    exit_traffic: str | None = None
    poll_period_s: float = 5.0
    max_bytes: int = 262144
    max_flows: int = 65536
    meter: str | None = None


def with_node(config: Config) -> Config:
    """A configuration that says who reports: as it was, or as its source knows, or as the host.

    Thread safety: any thread.
    """
    if config.node is not None:
        return config
    name = None
    if config.source is not None:
        # That it can not be had now is said when the metering begins.
        with contextlib.suppress(OSError, ValueError):
            nodes = open_source(config.source).snapshot().nodes
            name = nodes.self_node.node_id if nodes and nodes.self_node else None
    return msgspec.structs.replace(config, node=NodeConfig(id=Text(name or socket.gethostname())))


def foreign_settings(config: ForeignConfig) -> dict[str, Any]:
    """The settings of a configuration, by their names in `ForeignSettings`.

    Args:
        config: one that says who reports.

    Raises:
        ConfigError: the file of nodes is wrong.

    Thread safety: any thread.
    """
    return {
        "node_id": config.node_id,
        "routes": RouterConfig(
            routes=map(str, config.routes.overlay), subnet_routes=map(str, config.routes.subnets)
        ),
        "peers": peers_of(config),
        "nodes": None if config.nodes is None else NodeFile(config.nodes.file),
        "source": None if config.source is None else open_source(config.source),
        "source_name": str(config.source),
        "exit_traffic": config.exit_traffic,
        "poll_period_s": config.poll_period_s,
        "max_bytes": config.max_message_bytes,
        "max_flows": config.max_flows,
        "meter": config.meter,
    }


class ForeignLogger:
    """A logger on a meter that others count into; it follows what a source says of the overlay.

    Args:
        settings: how it is reported.
        sink: where the messages go; it stays the caller's.
        interfaces: the names of the TUN interfaces there are by now.

    Thread safety: `counters` from any thread, the rest from one.
    """

    def __init__(
        self,
        settings: ForeignSettings,
        sink: Sink,
        interfaces: Callable[[], Iterable[str]],
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._logger = Logger()
        self._source = None
        if settings.source is not None:
            self._source = KeptSource(settings.source, settings.source_name)
        overlay = OverlaySettings(
            node_id=settings.node_id,
            routes=settings.routes,
            peers=settings.peers,
            nodes=settings.nodes,
        )
        self._known = KnownOverlay(overlay, self._source, interfaces)

    def open_meter(self, stack: contextlib.ExitStack, max_lanes: int) -> Meter:
        """The meter of the settings, with what a predecessor left in it; `stack` closes it.

        Raises:
            MeterFileError: its file can not be used, or somebody polls it.
        """
        settings = self._settings
        self._known.look()
        return open_kept_meter(stack, settings.meter, settings.max_flows, max_lanes, self._start)

    def start(self, meter: Meter) -> None:
        """Begin to report."""
        self._known.look()
        self._start(self._logger, MeterDevice(meter))

    def _start(self, logger: Logger, device: MeterDevice) -> None:
        settings = self._settings
        logger.startup(
            settings.node_id,
            tun=device,
            sock=device,
            sink=self._sink,
            nodes=self._known.nodes,
            poll_period_s=settings.poll_period_s,
            routes=self._known.routes,
            peers=self._known.peers,
            exit_traffic=settings.exit_traffic,
            max_bytes=settings.max_bytes,
            refresh=lambda: self._known.refresh(logger),
        )

    def stop(self, timeout_s: float | None = None) -> None:
        """Emit the last period.

        Raises:
            TimeoutError: the sink did not take the last messages in time.
        """
        self._logger.shutdown(timeout_s)

    def counters(self) -> LoggerCounters:
        """What the logger has done so far."""
        return self._logger.counters()

    @property
    def source_errors(self) -> int:
        """Times that the source could not be had."""
        return self._source.errors if self._source else 0
