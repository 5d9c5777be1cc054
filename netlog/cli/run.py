"""`netlog run CONFIG`: a gateway, until it is told to stop."""

import argparse
import signal
from collections.abc import Mapping
from typing import Any

from netlog.cli.advice import describe
from netlog.cli.counters import counter_lines
from netlog.cli.output import say
from netlog.cli.stop import StopRequest
from netlog.config import Config, load_config
from netlog.credentials import read_credentials
from netlog.gateway import Gateway
from netlog.sinks import Sink, SinkGroup, StreamSink
from netlog.sinks.open import open_sinks

__all__ = ["add_parser"]

LOOK_S = 1.0
"""How often to see whether the relay still runs, and whether anybody still reads the messages."""
SINK_LIMIT_S = 10.0
"""How long the last messages may take: a terminal that was stopped, or a reader that hangs."""
REOPEN, REPORT = signal.SIGHUP, signal.SIGUSR1


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "run",
        help="run a gateway, and log its traffic",
        description="Make the TUN interface of a configuration, carry its packets to the peers "
        "over UDP and emit flow log messages, until SIGINT or SIGTERM. The relay does not encrypt. "
        "SIGHUP opens files anew, as after logrotate; SIGUSR1 prints the counters.",
        epilog="exit status: 0 when told to stop, 1 on failure, 2 if the configuration is wrong. "
        "example: sudo netlog run /etc/netlog/gateway.toml",
    )
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateway")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Run the gateway until a signal comes, or until nobody can read its messages any more."""
    config = load_config(options.config)
    credentials = read_credentials(config, options.config)
    with StopRequest(others=(REOPEN, REPORT)) as stop:
        sinks = open_sinks(config, credentials, options.config)
        group = SinkGroup(sinks)
        try:
            with Gateway(config, group) as gateway:
                gateway.start()
                _greet(config)
                trouble = _wait(stop, gateway, group, sinks)
                gateway.stop(SINK_LIMIT_S)
                # Before the devices go, as it is what they have counted.
                counters = gateway.counters()
        except TimeoutError:
            # The logger still waits for the sink, which is therefore not ours to close.
            say(f"the sinks did not take the last messages within {SINK_LIMIT_S:g} s")
            return 1
        except BaseException:
            group.close()
            raise
        trouble = _close(group) or trouble
        sent = group.counters()
        for line in counter_lines(counters, sent):
            say(line)
        for name, left in sent.items():
            if left.pending:
                say(f"{name}: {left.pending} messages stay in the spool, for the next run")
    if trouble:
        say(trouble)
    return 1 if trouble else 0


def _wait(stop: StopRequest, gateway: Gateway, group: SinkGroup, sinks: Mapping[str, Sink]) -> str:
    """Wait until told to stop, and do what else is asked for. Returns why it ended otherwise."""
    streams = [sink for sink in sinks.values() if isinstance(sink, StreamSink)]
    while not stop.wait(LOOK_S):
        for number in stop.taken():
            if number == REOPEN:
                group.reopen()
            else:
                for line in counter_lines(gateway.counters(), group.counters()):
                    say(line)
        if gateway.error is not None:
            return f"the relay ended by itself: {describe(gateway.error)}"
        if len(streams) == len(sinks) and all(sink.abandoned for sink in streams):
            return "nobody reads standard output any more, and it is the only sink"
    return ""


def _close(group: SinkGroup) -> str:
    """Close the sinks. Returns which of them did not take the last messages."""
    try:
        group.close(SINK_LIMIT_S)
    except TimeoutError as error:
        return f"the sinks did not take the last messages: {error}"
    return ""


def _greet(config: Config) -> None:
    say("the relay does not encrypt: whoever sees the underlay sees the overlay's packets")
    say(
        f"{config.node.id}: {config.tun.name} {' '.join(config.tun.addresses)}, "
        f"udp {config.sock.listen}, {len(config.peers)} peers; a message every "
        f"{config.poll_period_s:g} s"
    )
