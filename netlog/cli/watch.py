"""`netlog watch`: meter a gateway that is not ours, by taps on its interfaces."""

import argparse
import signal
import sys
from typing import Any

from netlog.cli.counters import watch_lines
from netlog.cli.output import say
from netlog.cli.readiness import ready
from netlog.cli.stop import StopRequest
from netlog.cli.watch_options import add_options, settings_of
from netlog.config import Config, load_config
from netlog.credentials import read_credentials
from netlog.sinks import FileSink, Sink, SinkGroup, StreamSink
from netlog.sinks.open import open_sinks
from netlog.watch import Watch

__all__ = ["add_parser"]

LOOK_S = 0.2
"""How often to look at the interfaces, where the kernel does not say that one has changed."""
SINK_LIMIT_S = 10.0
"""How long the last messages may take: a terminal that was stopped, or a reader that hangs."""
REOPEN, REPORT = signal.SIGHUP, signal.SIGUSR1


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "watch",
        help="meter a VPN that is not ours, by its interfaces",
        description="Count what crosses the TUN interface of a VPN, and the UDP datagrams that "
        "carry it, and emit flow log messages, until SIGINT or SIGTERM. Needs CAP_NET_RAW. An "
        "interface that is not there is waited for. A tap also sees what the interface's full "
        "queue drops afterwards. SIGHUP opens files anew; SIGUSR1 prints the counters.",
        epilog="exit status: 0 when told to stop, 1 on failure, 2 on wrong usage. "
        "example: sudo netlog watch --tun wg0 --sock 51820 --wireguard wg0 --route 100.64.0.0/10",
    )
    add_options(parser)
    parser.set_defaults(execute=watch, parser=parser)


def watch(options: argparse.Namespace) -> int:
    """Watch until a signal comes, or until nobody can read the messages any more."""
    config = None if options.config is None else load_config(options.config)
    settings = settings_of(options, config)
    with StopRequest(others=(REOPEN, REPORT)) as stop:
        sinks = _open_sinks(options, config)
        group = SinkGroup(sinks)
        try:
            with Watch(settings, group) as watching:
                watching.start()
                say(f"{settings.node_id}: a message every {settings.poll_period_s:g} s")
                trouble = _wait(stop, watching, group, sinks)
                watching.stop(SINK_LIMIT_S)
                counters = watching.counters()
        except TimeoutError:
            # The logger still waits for the sink, which is therefore not ours to close.
            say(f"the sinks did not take the last messages within {SINK_LIMIT_S:g} s")
            return 1
        except BaseException:
            group.close()
            raise
        try:
            group.close(SINK_LIMIT_S)
        except TimeoutError as error:
            trouble = f"the sinks did not take the last messages: {error}"
        for line in watch_lines(counters, group.counters()):
            say(line)
    if trouble:
        say(trouble)
    return 1 if trouble else 0


def _wait(stop: StopRequest, watching: Watch, group: SinkGroup, sinks: dict[str, Sink]) -> str:
    """Follow the interfaces until told to stop. Returns why it ended otherwise."""
    streams = [sink for sink in sinks.values() if isinstance(sink, StreamSink)]
    while True:
        ready([stop.fileno(), watching.fileno()], LOOK_S)
        if stop.wait(0):
            return ""
        for number in stop.taken():
            if number == REOPEN:
                group.reopen()
            else:
                for line in watch_lines(watching.counters(), group.counters()):
                    say(line)
        watching.look()
        if len(streams) == len(sinks) and all(sink.abandoned for sink in streams):
            return "nobody reads standard output any more, and it is the only sink"


def _open_sinks(options: argparse.Namespace, config: Config | None) -> dict[str, Sink]:
    if config is not None:
        credentials = read_credentials(config, options.config)
        return open_sinks(config, credentials, options.config)
    if options.output != "-":
        return {options.output: FileSink(options.output)}
    return {"standard output": StreamSink(sys.stdout)}
