"""Running the gateways of a configuration side by side, until told to stop."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from netlog.cli.counters import counter_lines
from netlog.cli.diagnostics import describe, say
from netlog.cli.waiting import StopRequest, ready
from netlog.config.credentials import read_credentials
from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.file import AnyConfig, PlacedConfig
from netlog.config.relay import RelayConfig
from netlog.gateways.exec import ExecGateway
from netlog.gateways.relay import Gateway
from netlog.gateways.settings import with_node
from netlog.gateways.sinks import open_sinks
from netlog.gateways.watch import Watch, watch_settings
from netlog.sinks import Sink, SinkGroup, StreamSink

__all__ = ["run_gateways"]

LOOK_S = 1.0
"""How often to see whether a gateway still runs, and whether anybody still reads the messages."""
WATCH_LOOK_S = 0.2
"""Likewise where interfaces are watched: the kernel does not say all that may change of one."""
SINK_LIMIT_S = 10.0
"""How long the last messages may take: a terminal that was stopped, or a reader that hangs."""
LEAST_LIMIT_S = 1.0
"""Likewise of each gateway, when others before it have used up the time."""
NOT_ENCRYPTED = "the relay does not encrypt: whoever sees the underlay sees the overlay's packets"
REOPEN, REPORT = signal.SIGHUP, signal.SIGUSR1


def run_gateways(placed: Sequence[PlacedConfig]) -> int:
    """Run gateways until a signal comes, or until all have ended by themselves.

    Args:
        placed: their configurations, one or more.

    Returns:
        The exit status: 1 if a gateway ended by itself, or a sink did not take the last messages.
    """
    with StopRequest(others=(REOPEN, REPORT)) as stop, contextlib.ExitStack() as stack:
        stream = StreamSink(sys.stdout) if sys.stdout is not None else None
        every: list[_Running] = []
        for each in placed:
            running = _Running(each, stream, several=len(placed) > 1)
            every.append(running)
            # Where one can not be started, those before it are ended.
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
    """Until told to stop, or until all have ended, do what is asked for."""
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
        placed: its configuration.
        stream: standard output; None: it is closed.
        several: whether there are others, so that what is said of it begins with its name.
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
            self._gateway = _gateway(self.config, self._group)
        except BaseException:
            self._group.close()
            raise

    def start(self) -> None:
        """Start it, and say what it is."""
        self._gateway.start()
        self.runs = True
        if isinstance(self.config, RelayConfig):
            say(NOT_ENCRYPTED)
        say(_greeting(self.config))

    def descriptors(self) -> Iterator[int]:
        """Where there is something to read when it is time to look."""
        if self.runs and isinstance(self._gateway, Watch):
            yield self._gateway.fileno()

    def look(self) -> None:
        """See what has changed; one that has ended by itself is ended."""
        if not self.runs:
            return
        trouble = ""
        streams = [sink for sink in self._sinks.values() if isinstance(sink, StreamSink)]
        if isinstance(self._gateway, Watch | Gateway):
            self._gateway.look()
        if not isinstance(self._gateway, Watch) and self._gateway.error is not None:
            trouble = f"ended by itself: {describe(self._gateway.error)}"
        if len(streams) == len(self._sinks) and all(sink.abandoned for sink in streams):
            trouble = "nobody reads standard output any more, and it is the only sink"
        if trouble:
            self.end(SINK_LIMIT_S)
            self._complain(trouble)

    def handle(self, number: int) -> None:
        """Open files anew, or say the counters."""
        if not self.runs:
            return
        if number == REOPEN:
            self._group.reopen()
        else:
            self._say(counter_lines(self._gateway.counters(), self._group.counters()))

    def ask_to_end(self) -> None:
        """Without waiting for it."""
        if self.runs and isinstance(self._gateway, ExecGateway):
            self._gateway.ask_to_end()

    def end(self, timeout_s: float) -> None:
        """Stop it, close its sinks and say what it has done. Ending twice is fine."""
        if not self._open:
            return
        self._open = False
        counters = None
        try:
            with self._gateway:
                if self.runs:
                    self.runs = False
                    self._gateway.stop(timeout_s)
                    # Before the devices go, as it is what they have counted.
                    counters = self._gateway.counters()
        except TimeoutError:
            # The logger still waits for the sink, which is therefore not ours to close.
            self._complain(f"the sinks did not take the last messages within {timeout_s:g} s")
            return
        except BaseException:
            self._group.close()
            raise
        trouble = self._close(timeout_s)
        if counters is not None:
            sent = self._group.counters()
            self._say(counter_lines(counters, sent))
            for name, left in sent.items():
                if left.pending:
                    self._say(
                        [f"{name}: {left.pending} messages stay in the spool, for the next run"]
                    )
        if trouble:
            self._complain(trouble)

    # -- inside -----------------------------------------------------------------------------------

    def _close(self, timeout_s: float) -> str:
        """Close the sinks. Returns which of them did not take the last messages."""
        try:
            self._group.close(timeout_s)
        except TimeoutError as error:
            return f"the sinks did not take the last messages: {error}"
        return ""

    def _complain(self, trouble: str) -> None:
        self.troubled = True
        self._say([trouble])

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            say(f"{self._prefix}{line}")


def _complete(config: AnyConfig) -> AnyConfig:
    """A configuration that says who reports."""
    return config if isinstance(config, RelayConfig) else with_node(config)


def _gateway(config: AnyConfig, sink: Sink) -> Gateway | ExecGateway | Watch:
    match config:
        case RelayConfig():
            return Gateway(config, sink)
        case ExecConfig():
            return ExecGateway(config, sink)
        case WatchConfig():
            return Watch(watch_settings(config), sink)


def _greeting(config: AnyConfig) -> str:
    match config:
        case RelayConfig():
            what = (
                f"{config.tun.name} {' '.join(config.tun.addresses)}, "
                f"udp {config.sock.listen}, {len(config.peers)} peers; "
            )
        case ExecConfig():
            what = f"{' '.join(config.command)}; "
        case WatchConfig():
            what = ""
    return f"{config.node_id}: {what}a message every {config.poll_period_s:g} s"
