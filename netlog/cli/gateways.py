"""Runs the gateways of a configuration side by side, until a signal asks to stop."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from netlog.cli.counters import print_counters
from netlog.cli.diagnostics import describe, say
from netlog.cli.importing import importing
from netlog.cli.waiting import StopRequest, ready
from netlog.config.credentials import read_credentials
from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.file import AnyConfig, PlacedConfig
from netlog.config.lines import errors_of
from netlog.config.relay import RelayConfig
from netlog.display.units import counted
from netlog.gateways.base import AnyGateway
from netlog.gateways.counters import AnyCounters
from netlog.gateways.settings import with_node
from netlog.gateways.sinks import open_sinks
from netlog.sinks import Sink, SinkCounters, SinkGroup, StreamSink

__all__ = ["run_gateways"]

LOOK_S = 1.0
"""How often to check that each gateway still runs, and that standard output still has a reader."""
WATCH_LOOK_S = 0.2
"""The same, if interfaces are watched: the kernel does not announce every change of one."""
SINK_LIMIT_S = 10.0
"""How long the sinks may take for the last messages: a terminal may be stopped, a reader hung."""
LEAST_LIMIT_S = 1.0
"""The least time for each gateway, if the gateways before it have used up SINK_LIMIT_S."""
NOT_ENCRYPTED = (
    "the relay does not encrypt: anyone who can read the underlay can read the overlay's packets"
)
REOPEN, REPORT = signal.SIGHUP, signal.SIGUSR1


def run_gateways(placed: Sequence[PlacedConfig]) -> int:
    """Run gateways until a signal arrives, or until all of them have ended on their own.

    Args:
        placed: their configurations, at least one.

    Returns:
        The exit status: 1 if a gateway ended on its own, or if a sink did not accept the last
        messages; else 0.
    """
    with StopRequest(others=(REOPEN, REPORT)) as stop, contextlib.ExitStack() as stack:
        stream = StreamSink(sys.stdout) if sys.stdout is not None else None
        every: list[_Running] = []
        for each in placed:
            running = _Running(each, stream, several=len(placed) > 1)
            every.append(running)
            # If one cannot be started, those before it are ended.
            stack.callback(running.end, SINK_LIMIT_S)
            running.start()
        _wait(stop, every)
        for running in every:
            running.ask_to_end()
        deadline_s = time.monotonic() + SINK_LIMIT_S
        for running in every:
            running.end(max(deadline_s - time.monotonic(), LEAST_LIMIT_S))
    return 1 if any(running.troubled for running in every) else 0


def _wait(stop: StopRequest, every: "Sequence[_Running]") -> None:
    """Handle signals and watch the gateways, until a signal asks to stop or all have ended."""
    while any(running.runs for running in every):
        descriptors = [descriptor for running in every for descriptor in running.descriptors()]
        ready([stop.fileno(), *descriptors], WATCH_LOOK_S if descriptors else LOOK_S)
        if stop.wait(0):
            return
        for number in stop.taken():
            for running in every:
                running.handle(number)
        for running in every:
            running.look()


class _Running:
    """A gateway of a configuration with its sinks, from `start` to `end`.

    Args:
        placed: the gateway's configuration.
        stream: standard output; None: it is closed.
        several: whether other gateways run too; then each line about this one begins with its id.
    """

    def __init__(self, placed: PlacedConfig, stream: StreamSink | None, *, several: bool) -> None:
        self.config = _complete(placed.config)
        self.runs = False
        self.troubled = False
        self._open = True
        self._prefix = f"{self.config.node_id}: " if several else ""
        credentials = read_credentials(self.config, placed.origin)
        self._sinks = open_sinks(self.config, credentials, placed.origin, stream)
        self._group = SinkGroup(self._sinks)
        try:
            with errors_of(placed.origin):
                self._gateway = _gateway(self.config, self._group)
        except BaseException:
            self._group.close()
            raise

    def start(self) -> None:
        """Start the gateway, and report what was started."""
        self._gateway.start()
        self.runs = True
        if isinstance(self.config, RelayConfig):
            say(NOT_ENCRYPTED)
        say(_greeting(self.config))

    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that become readable when it is time to `look`."""
        return self._gateway.descriptors() if self.runs else ()

    def look(self) -> None:
        """Take note of changes; end the gateway if it has stopped on its own."""
        if not self.runs:
            return
        trouble = ""
        streams = [sink for sink in self._sinks.values() if isinstance(sink, StreamSink)]
        self._gateway.look()
        if self._gateway.error is not None:
            trouble = f"stopped unexpectedly: {describe(self._gateway.error)}"
        if len(streams) == len(self._sinks) and all(sink.abandoned for sink in streams):
            trouble = "stopped: standard output has lost its reader, and it is the only sink"
        if trouble:
            self.end(SINK_LIMIT_S)
            self._complain(trouble)

    def handle(self, number: int) -> None:
        """Reopen the files, or print the counters."""
        if not self.runs:
            return
        if number == REOPEN:
            self._group.reopen()
        else:
            self._report(self._gateway.counters(), self._group.counters())

    def ask_to_end(self) -> None:
        """Ask a daemon to end, without waiting for it."""
        if self.runs:
            self._gateway.ask_to_end()

    def end(self, timeout_s: float) -> None:
        """Stop the gateway, close its sinks, and print its counters. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        counters = None
        try:
            with self._gateway:
                if self.runs:
                    self.runs = False
                    self._gateway.stop(timeout_s)
                    # Read before the devices are closed, because the devices hold the counts.
                    counters = self._gateway.counters()
        except TimeoutError:
            # The logger still uses the sink, so closing it here is not allowed.
            self._complain(f"the sinks did not accept the last messages within {timeout_s:g} s")
            return
        except BaseException:
            self._group.close()
            raise
        trouble = self._close(timeout_s)
        if counters is not None:
            sent = self._group.counters()
            self._report(counters, sent)
            for name, left in sent.items():
                if left.pending:
                    self._say([f"{name}: {_stay(left.pending)} in the spool until the next run"])
        if trouble:
            self._complain(trouble)

    # -- inside -----------------------------------------------------------------------------------

    def _close(self, timeout_s: float) -> str:
        """Close the sinks. Returns an error text if they did not accept the last messages."""
        try:
            self._group.close(timeout_s)
        except TimeoutError as error:
            return f"the sinks did not accept the last messages: {error}"
        return ""

    def _report(self, counters: AnyCounters, sinks: Mapping[str, SinkCounters]) -> None:
        print_counters(self.config.node_id, counters, sinks, self._prefix)

    def _complain(self, trouble: str) -> None:
        self.troubled = True
        self._say([trouble])

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            say(f"{self._prefix}{line}")


def _stay(messages: int) -> str:
    return f"{counted(messages, 'message')} {'stays' if messages == 1 else 'stay'}"


def _complete(config: AnyConfig) -> AnyConfig:
    """The configuration with the id of the node that reports."""
    return config if isinstance(config, RelayConfig) else with_node(config)


def _gateway(config: AnyConfig, sink: Sink) -> AnyGateway:
    """The gateway of a configuration. Only the modules of its own kind are imported."""
    with importing():
        match config:
            case RelayConfig():
                from netlog.gateways.relay import Gateway  # noqa: PLC0415

                return Gateway(config, sink)
            case ExecConfig():
                from netlog.gateways.exec import ExecGateway  # noqa: PLC0415

                return ExecGateway(config, sink)
            case WatchConfig():
                from netlog.gateways.watch import Watch, watch_settings  # noqa: PLC0415

                return Watch(watch_settings(config), sink)


def _greeting(config: AnyConfig) -> str:
    match config:
        case RelayConfig():
            what = (
                f"{config.tun.name} {' '.join(config.tun.addresses)}, "
                f"udp {config.sock.listen}, {counted(len(config.peers), 'peer')}; "
            )
        case ExecConfig():
            what = f"{' '.join(config.command)}; "
        case WatchConfig():
            what = ""
    return f"{config.node_id}: {what}a message every {config.poll_period_s:g} s"
