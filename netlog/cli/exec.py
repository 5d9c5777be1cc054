"""`netlog exec -- COMMAND`: meters an unmodified VPN daemon."""

import argparse
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.counters import print_counters
from netlog.cli.diagnostics import say
from netlog.cli.external_options import add_external_options, external_changes
from netlog.cli.waiting import StopRequest
from netlog.config.credentials import read_credentials
from netlog.config.external import ExecConfig
from netlog.config.file import COMMAND_LINE, load_config
from netlog.config.lines import errors_of
from netlog.config.sinks import StdoutSinkConfig
from netlog.errors import ConfigError
from netlog.gateways.exec_metering import ExecMetering
from netlog.gateways.settings import with_node
from netlog.gateways.sinks import open_sinks
from netlog.preload.children import ASKS, Command
from netlog.preload.meter import has_writers
from netlog.preload.programs import find_program
from netlog.sinks import SinkGroup

__all__ = ["add_parser"]

LOOK_S = 1.0
"""How often to check whether a daemon that is not a child process still runs."""
SINK_LIMIT_S = 10.0
"""How long the sinks may take for the last messages."""

DESCRIPTION = """\
Run a VPN daemon unmodified, and log its traffic. netlog starts the command with a
library that counts what crosses its TUN interface and its UDP and TCP sockets.
Signals and the exit status pass through. Standard input and output belong to the
command; netlog writes to standard error too. At the end it prints its counters. Of
all signals, only SIGCONT is for netlog itself: it prints the counters so far.

Go programs and statically linked programs cannot be metered this way; use
`netlog watch` for them.
"""
EPILOG = """\
exit status: that of the command, or 128 + N if signal N killed it; 1 on failure;
2 on wrong usage.
example: sudo netlog exec --output flows.jsonl --route 10.8.0.0/24 -- \\
             openvpn --config server.conf
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "exec", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--output", metavar="FILE", help="append the messages to this file, as JSON lines")
    add("--config", metavar="FILE", help="TOML file with sinks and settings; options override it")
    add_external_options(parser)
    add(
        "--sock-port",
        metavar="PORT",
        type=int,
        action="append",
        default=[],
        help="count only sockets that are bound or connected to this port; may be repeated "
        "(default: count all sockets)",
    )
    add(
        "--sock-exclude",
        metavar="PREFIX",
        action="append",
        default=[],
        help="do not count sockets that are connected to this prefix, such as a management "
        "interface; may be repeated",
    )
    add("--attach", metavar="METER", help="poll the meter file of a command that already runs")
    add(
        "arguments",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        help="the command to run and its arguments, after --",
    )
    parser.set_defaults(execute=run, usage=parser.error)


def run(options: argparse.Namespace) -> int:
    """Run the command to its end, and return its exit status."""
    arguments = options.arguments
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    config = _config(options)
    arguments = arguments or list(config.command)
    if options.attach is not None:
        if options.arguments:
            options.usage("expected either --attach METER or -- COMMAND")
        return _attach(config, options)
    if not arguments:
        options.usage("expected either --attach METER or -- COMMAND")
    return _run(config, options, arguments)


def _run(config: ExecConfig, options: argparse.Namespace, arguments: list[str]) -> int:
    path = find_program(arguments[0])
    # Created before any thread, so that the sinks' threads do not receive the command's signals.
    command = Command()
    with _metering(config, options) as (metering, report):
        command.start(path, arguments, metering.environment(os.environ))
        return command.wait(report)


def _attach(config: ExecConfig, options: argparse.Namespace) -> int:
    """Poll until no process counts any more, or until a signal asks to stop."""
    # Raises if there is no such meter: a mistyped name must not create a new one.
    has_writers(str(config.meter))
    asks = (ASKS, signal.SIGUSR1)
    with StopRequest(others=asks) as stop, _metering(config, options) as (metering, report):
        while metering.counted_into and not stop.wait(LOOK_S):
            if stop.taken():
                report()
    return 0


@contextlib.contextmanager
def _metering(
    config: ExecConfig, options: argparse.Namespace
) -> Iterator[tuple[ExecMetering, Callable[[], None]]]:
    """Send what a command counts to the configured sinks, and print the counters at the end.

    Yields:
        The metering, and a function that prints the counters so far.
    """
    origin = options.config or COMMAND_LINE
    group = SinkGroup(open_sinks(config, read_credentials(config, origin), origin))
    try:
        with errors_of(origin):
            made = ExecMetering(config, group)
        with made as metering:
            metering.start()
            yield metering, partial(_report, config, metering, group)
            try:
                metering.stop(SINK_LIMIT_S)
            except TimeoutError as error:
                say(f"the sinks did not accept the last messages: {error}")
            counters = metering.counters()
    finally:
        try:
            group.close(SINK_LIMIT_S)
        except TimeoutError as error:
            say(f"the sinks did not accept the last messages: {error}")
    print_counters(config.node_id, counters, group.counters())


def _report(config: ExecConfig, metering: ExecMetering, group: SinkGroup) -> None:
    print_counters(config.node_id, metering.counters(), group.counters())


def _config(options: argparse.Namespace) -> ExecConfig:
    """The configuration; options on the command line override the file."""
    if options.config is None and options.output is None:
        raise ConfigError(
            "expected --output FILE or --config FILE: standard output belongs to the command"
        )
    changes = external_changes(options)
    if options.attach is not None:
        changes["meter"] = os.path.abspath(options.attach)  # noqa: PTH100 - resolves no link
    if options.sock_port:
        changes["sock_ports"] = options.sock_port
    if options.sock_exclude:
        changes["sock_exclude"] = options.sock_exclude
    config = load_config(options.config, ExecConfig, changes)
    for i, sink in enumerate(config.sinks):
        if isinstance(sink, StdoutSinkConfig):
            raise ConfigError(
                f"{options.config or COMMAND_LINE}: sinks[{i}].type: expected another sink: "
                "standard output belongs to the command"
            )
    return with_node(config)
