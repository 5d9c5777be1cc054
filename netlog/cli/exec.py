"""`netlog exec -- COMMAND`: meters a VPN daemon as it is."""

import argparse
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from netlog._units import binary_size
from netlog.cli.output import say
from netlog.cli.stop import StopRequest
from netlog.command import Command
from netlog.credentials import read_credentials
from netlog.errors import ConfigError
from netlog.exec_config import COMMAND_LINE, ExecConfig, load_exec_config
from netlog.logger import Logger
from netlog.meter import Meter
from netlog.meter_device import MeterDevice
from netlog.node_file import NodeFile
from netlog.preload import find_program, library_path, preload_environment
from netlog.preload_meter import has_writers, open_preload_meter, read_aside
from netlog.routes import RouterConfig
from netlog.sinks import SinkGroup
from netlog.sinks.open import open_sinks

__all__ = ["add_parser"]

LOOK_S = 1.0
"""How often to see whether a daemon that is no child still runs."""
SINK_LIMIT_S = 10.0
"""How long the last messages may take."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "exec",
        help="run a VPN daemon as it is, and log its traffic",
        description="Start a command with a library that counts what crosses its TUN interface and "
        "its UDP and TCP sockets. Signals and the exit status pass through; standard streams are "
        "the command's. Programs made by Go, and static ones, can not be metered so.",
        epilog="exit status: the command's, 128 + N if it died of signal N; 1 on failure, 2 on "
        "wrong usage. example: sudo netlog exec --output flows.jsonl --route 10.8.0.0/24 -- "
        "openvpn --config server.conf",
    )
    add = parser.add_argument
    add("--output", metavar="FILE", help="append messages to this file, as JSON lines")
    add("--config", metavar="FILE", help="the TOML file with node, routes and sinks")
    add("--node-id", metavar="ID", help="this node in its messages; default: the host's name")
    add("--route", metavar="PREFIX", action="append", default=[], help="is behind the tunnel")
    add("--poll-period", metavar="S", type=float, help="seconds between messages; default: 5")
    add(
        "--sock-port",
        metavar="PORT",
        type=int,
        action="append",
        default=[],
        help="of the tunnel's sockets; default: all count",
    )
    add(
        "--sock-exclude",
        metavar="PREFIX",
        action="append",
        default=[],
        help="sockets connected there are none of the tunnel's, as of a management interface",
    )
    add("--attach", metavar="METER", help="poll the meter of a command that runs already")
    add("arguments", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run, after --")
    parser.set_defaults(execute=run, usage=parser.error)


def run(options: argparse.Namespace) -> int:
    """Run the command to its end; its exit status is ours."""
    arguments = options.arguments
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if bool(arguments) == (options.attach is not None):
        options.usage("expected either --attach METER or -- COMMAND")
    config = _config(options)
    return _attach(config, options) if options.attach else _run(config, options, arguments)


def _run(config: ExecConfig, options: argparse.Namespace, arguments: list[str]) -> int:
    path, library = find_program(arguments[0]), library_path()
    # Ahead of all threads: those of the sinks must not get its signals.
    command = Command()
    with open_preload_meter(config.meter, config.max_flows) as meter:
        environment = preload_environment(
            os.environ, library, str(meter.path), config.sock_ports, config.sock_exclude
        )
        with _emitting(config, options, meter):
            command.start(path, arguments, environment)
            status = command.wait()
        _say_aside(meter)
    return status


def _attach(config: ExecConfig, options: argparse.Namespace) -> int:
    """Poll until no process counts any more, or until told to stop."""
    path = str(config.meter)
    # A wrong name makes no new meter.
    has_writers(path)
    with (
        StopRequest() as stop,
        open_preload_meter(path, config.max_flows) as meter,
        _emitting(config, options, meter),
    ):
        while has_writers(path) and not stop.wait(LOOK_S):
            pass
        _say_aside(meter)
    return 0


@contextlib.contextmanager
def _emitting(config: ExecConfig, options: argparse.Namespace, meter: Meter) -> Iterator[None]:
    """Log what is counted into the meter, to the sinks of the configuration."""
    origin = options.config or COMMAND_LINE
    group = SinkGroup(open_sinks(config, read_credentials(config, origin), origin))
    logger, device = Logger(), MeterDevice(meter)
    try:
        logger.startup(
            config.node.id,
            tun=device,
            sock=device,
            sink=group,
            nodes=None if config.nodes is None else NodeFile(config.nodes.file),
            poll_period_s=config.poll_period_s,
            routes=RouterConfig(
                routes=map(str, config.routes.overlay),
                subnet_routes=map(str, config.routes.subnets),
            ),
            exit_traffic=config.exit_traffic,
            max_bytes=config.max_message_bytes,
        )
        yield
    finally:
        try:
            logger.shutdown(SINK_LIMIT_S)
            group.close(SINK_LIMIT_S)
        except TimeoutError as error:
            say(f"the sinks did not take the last messages: {error}")


def _config(options: argparse.Namespace) -> ExecConfig:
    """The configuration, with what the command line says on top."""
    changes: dict[str, Any] = {}
    if options.config is None and options.output is None:
        raise ConfigError(
            "expected --output FILE or --config FILE: standard output is the command's"
        )
    if options.node_id is not None or options.config is None:
        changes["node"] = {"id": options.node_id or socket.gethostname()}
    if options.attach is not None:
        changes["meter"] = os.path.abspath(options.attach)  # noqa: PTH100 - resolves no link
    if options.output is not None:
        changes["sinks"] = [{"type": "file", "path": options.output}]
    if options.route:
        changes["routes"] = {"overlay": options.route}
    if options.poll_period is not None:
        changes["poll_period_s"] = options.poll_period
    if options.sock_port:
        changes["sock_ports"] = options.sock_port
    if options.sock_exclude:
        changes["sock_exclude"] = options.sock_exclude
    return load_exec_config(options.config, changes)


def _say_aside(meter: Meter) -> None:
    """Say what the messages do not."""
    aside = read_aside(meter)
    if not aside.tuns:
        say("the command opened no TUN interface that the library saw: nothing was counted")
    if aside.uncounted_packets:
        size = binary_size(aside.uncounted_bytes)
        say(
            f"{aside.uncounted_packets} packets, {size}, are in no message: their thread "
            "or fork could not count"
        )
    if aside.far_descriptors:
        say(f"{aside.far_descriptors} descriptors had too high a number to be watched")
