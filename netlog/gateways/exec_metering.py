"""Meters a daemon from inside: the meter that it counts into, and the logger that polls it."""

import contextlib
import ipaddress
from collections.abc import Iterator, Mapping

from netlog._closing import Closing
from netlog.config.external import ExecConfig
from netlog.config.sources import OpenVpnSourceConfig
from netlog.gateways.counters import ExecCounters
from netlog.gateways.external import ExternalLogger
from netlog.gateways.settings import ExternalSettings, external_settings
from netlog.meter.meter import Meter
from netlog.preload.library import library_path, preload_environment
from netlog.preload.meter import has_writers, open_preload_meter, read_aside
from netlog.preload.processes import PreloadProcesses
from netlog.sinks import Sink
from netlog.sources import OpenVpnSource

__all__ = ["ExecCounters", "ExecMetering"]


class ExecMetering(Closing):
    """The meter of a daemon, polled from `start` to `stop`.

    Counts that an earlier process left in the meter are emitted first.

    Args:
        config: the configuration, with a node id.
        sink: the destination of the messages. The caller closes it, after `close`.

    Raises:
        NotMeterableError: netlog was built without its preload library.
        ConfigError: the file of nodes is wrong.

    Thread safety: `counters` from any thread between `start` and `close`; everything else from one
        thread.
    """

    def __init__(self, config: ExecConfig, sink: Sink) -> None:
        self._config = config
        self._library = library_path()
        self._stack = contextlib.ExitStack()
        self._meter: Meter | None = None
        self._processes: PreloadProcesses | None = None
        settings = ExternalSettings(**external_settings(config))
        self._logger = ExternalLogger(settings, sink, self._interfaces)

    def start(self) -> None:
        """Open the meter, and begin to report.

        Raises:
            MeterFileError: the meter's file cannot be used, or another process polls it.
            OSError: no file can be created for the meter.
        """
        with contextlib.ExitStack() as stack:
            opened = open_preload_meter(self._config.meter, self._config.max_flows)
            self._meter = stack.enter_context(opened)
            self._processes = PreloadProcesses(self.path)
            stack.callback(self.stop)
            self._logger.start(self._meter)
            self._stack = stack.pop_all()

    @property
    def path(self) -> str:
        """The path of the meter's file."""
        return str(self._opened.path)

    @property
    def processes(self) -> PreloadProcesses:
        """The processes that count into the meter, or could."""
        assert self._processes is not None  # noqa: S101 - set together with the meter
        return self._processes

    @property
    def counted_into(self) -> bool:
        """Whether any process that counts into the meter is alive."""
        return has_writers(self.path)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment, with the variables that make a command count into the meter."""
        config = self._config
        excluded = (*config.sock_exclude, *_of_the_source(config))
        return preload_environment(
            environment, self._library, self.path, config.sock_ports, excluded
        )

    def stop(self, timeout_s: float | None = None) -> None:
        """Emit the last period. Processes that still count continue, for a later gateway.

        Raises:
            TimeoutError: the sink did not accept the last messages in time.
        """
        self._logger.stop(timeout_s)

    def close(self) -> None:
        """Stop, and close the meter. A second call does nothing."""
        self._stack.close()

    def counters(self) -> ExecCounters:
        """The counters so far."""
        return ExecCounters(
            self._logger.counters(), read_aside(self._opened), self._logger.source_errors
        )

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _opened(self) -> Meter:
        assert self._meter is not None  # noqa: S101 - the caller has called `start`
        return self._meter

    def _interfaces(self) -> tuple[str, ...]:
        return self._processes.tun_interfaces() if self._processes else ()


def _of_the_source(config: ExecConfig) -> Iterator[str]:
    """The address at which the source asks the daemon over TCP: not a part of the tunnel."""
    if isinstance(config.source, OpenVpnSourceConfig):
        tcp = OpenVpnSource(config.source.at).tcp
        if tcp is not None:
            yield str(ipaddress.ip_network(tcp[0]))
