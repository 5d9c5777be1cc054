"""The logger of a gateway whose packets another program moves."""

import contextlib
from collections.abc import Callable, Iterable

from netlog.devices.device import MeterDevice
from netlog.gateways.kept_meter import open_kept_meter
from netlog.gateways.overlay import OverlayFollower, OverlaySettings
from netlog.gateways.settings import ExternalSettings
from netlog.logger.logger import Logger, LoggerCounters
from netlog.meter.meter import Meter
from netlog.sinks import Sink
from netlog.sources import KeptSource

__all__ = ["ExternalLogger"]


class ExternalLogger:
    """A logger on a meter that others count into. It follows what a source knows of the overlay.

    Args:
        settings: the settings of the gateway.
        sink: the destination of the messages. The caller closes it.
        interfaces: returns the names of the TUN interfaces that exist now.

    Thread safety: `counters` from any thread; everything else from one thread.
    """

    def __init__(
        self,
        settings: ExternalSettings,
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
        self._known = OverlayFollower(overlay, self._source, interfaces)

    def open_meter(self, stack: contextlib.ExitStack, max_lanes: int) -> Meter:
        """Open the meter of the settings, with what an earlier process left in it.

        Args:
            stack: closes the meter.
            max_lanes: threads that count.

        Raises:
            MeterFileError: the meter's file cannot be used, or another process polls it.
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
            TimeoutError: the sink did not accept the last messages in time.
        """
        self._logger.shutdown(timeout_s)
        if self._source is not None:
            self._source.end()

    def counters(self) -> LoggerCounters:
        """The counters of the logger so far."""
        return self._logger.counters()

    @property
    def source_errors(self) -> int:
        """How often the source did not answer."""
        return self._source.errors if self._source else 0
