"""`netlog run CONFIG`: a gateway, until it is told to stop."""

import argparse
import errno
import sys
from typing import Any

from netlog._units import binary_size
from netlog.cli.advice import describe
from netlog.cli.output import say
from netlog.cli.stop import StopRequest
from netlog.config import Config, FileSinkConfig, load_config
from netlog.gateway import Gateway
from netlog.sinks import FileSink, Sink, SinkGroup, StreamSink

__all__ = ["add_parser"]

LOOK_S = 1.0
"""How often to see whether the relay still runs, and whether anybody still reads the messages."""
SINK_LIMIT_S = 10.0
"""How long the last messages may take: a terminal that was stopped, or a reader that hangs."""
STDOUT = "standard output"


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "run",
        help="run a gateway, and log its traffic",
        description="Make the TUN interface of a configuration, carry its packets to the peers "
        "over UDP and emit flow log messages, until SIGINT or SIGTERM. The relay does not encrypt.",
        epilog="exit status: 0 when told to stop, 1 on failure, 2 if the configuration is wrong. "
        "example: sudo netlog run /etc/netlog/gateway.toml",
    )
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateway")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Run the gateway until a signal comes, or until nobody can read its messages any more."""
    config = load_config(options.config)
    with StopRequest() as stop:
        sinks = _open_sinks(config)
        group = SinkGroup(sinks)
        try:
            with Gateway(config, group) as gateway:
                gateway.start()
                _greet(config)
                trouble = _wait(stop, gateway, sinks)
                gateway.stop(SINK_LIMIT_S)
                _say_goodbye(gateway)
        except TimeoutError:
            # The logger still waits for the sink, which is therefore not ours to close.
            say(f"the sinks did not take the last messages within {SINK_LIMIT_S:g} s")
            return 1
        except BaseException:
            group.close()
            raise
        group.close()
        for name, counts in group.counters().items():
            say(f"{name}: {counts.written} messages written, {counts.dropped} dropped")
    if trouble:
        say(trouble)
    return 1 if trouble else 0


def _open_sinks(config: Config) -> dict[str, Sink]:
    """Open every sink of the configuration; if one can not be had, none stays open."""
    sinks: dict[str, Sink] = {}
    try:
        for sink in config.sinks:
            if isinstance(sink, FileSinkConfig):
                sinks[sink.path] = FileSink(sink.path)
            elif sys.stdout is None:
                raise OSError(errno.EBADF, "it is closed", STDOUT)  # noqa: TRY301 - closes the others
            else:
                sinks[STDOUT] = StreamSink(sys.stdout)
    except OSError:
        for opened in sinks.values():
            opened.close()
        raise
    return sinks


def _wait(stop: StopRequest, gateway: Gateway, sinks: dict[str, Sink]) -> str:
    """Wait for a signal. Returns why it ended otherwise, or nothing."""
    while not stop.wait(LOOK_S):
        if gateway.error is not None:
            return f"the relay ended by itself: {describe(gateway.error)}"
        streams = [sink for sink in sinks.values() if isinstance(sink, StreamSink)]
        if len(streams) == len(sinks) and all(sink.abandoned for sink in streams):
            return f"nobody reads {STDOUT} any more, and it is the only sink"
    return ""


def _greet(config: Config) -> None:
    say("the relay does not encrypt: whoever sees the underlay sees the overlay's packets")
    say(
        f"{config.node.id}: {config.tun.name} {' '.join(config.tun.addresses)}, "
        f"udp {config.sock.listen}, {len(config.peers)} peers; a message every "
        f"{config.poll_period_s:g} s"
    )


def _say_goodbye(gateway: Gateway) -> None:
    """The counters of the whole run."""
    counters = gateway.counters()
    relay, logger = counters.relay, counters.logger
    for way, count, drops in (
        ("sent to peers", relay.tx, relay.tx_dropped),
        ("received from peers", relay.rx, relay.rx_dropped),
    ):
        dropped = _by_reason({reason: drop.packets for reason, drop in drops.items()})
        say(f"{way}: {count.packets} packets, {binary_size(count.bytes)}; dropped: {dropped}")
    unattributed = {
        reason: count + logger.sock_unattributed[reason]
        for reason, count in logger.unattributed.items()
    }
    say(f"unattributed: {_by_reason(unattributed)}")
    say(f"messages: {logger.messages} of {logger.polls} periods")


def _by_reason(counts: dict[str, int]) -> str:
    found = [f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count]
    return ", ".join(found) or "none"
