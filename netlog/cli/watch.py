"""`netlog watch`: meters the gateway of another program, by taps on its interfaces."""

import argparse
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.external_options import add_external_options, external_changes
from netlog.cli.gateways import run_gateways
from netlog.config.external import WatchConfig
from netlog.config.file import COMMAND_LINE, PlacedConfig, load_config

__all__ = ["add_options", "add_parser", "changes_of"]

DESCRIPTION = """\
Tap the TUN interface of a VPN, and the UDP datagrams that carry the tunnel, and log
their traffic until SIGINT or SIGTERM. This needs CAP_NET_RAW.

If an interface does not exist yet, netlog waits for it. A tap sees every packet that
is given to the interface, including packets that its full queue drops afterwards.

SIGHUP reopens the output files. SIGUSR1 prints the counters.
"""
EPILOG = """\
exit status: 0 if a signal asked to stop, 1 on failure, 2 on wrong usage.
example: sudo netlog watch --tun wg0 --sock 51820 --source wireguard:wg0
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "watch", DESCRIPTION, EPILOG)
    add_options(parser)
    parser.set_defaults(execute=watch, parser=parser)


def watch(options: argparse.Namespace) -> int:
    """Watch until a signal arrives, or until the messages have lost their only reader."""
    if options.tun is None and options.config is None:
        options.parser.error("expected --tun IFACE, or --config FILE with tun.name")
    config = load_config(options.config, WatchConfig, changes_of(options))
    return run_gateways([PlacedConfig(config, options.config or COMMAND_LINE)])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the command's parser. Reading the configuration checks their values."""
    add = parser.add_argument
    add("--tun", metavar="IFACE", help="the VPN's interface, which carries the virtual traffic")
    add(
        "--sock",
        metavar="PORT[@IFACE]",
        type=_sock,
        action="append",
        default=[],
        help="local UDP port that carries the tunnel, on one interface or on all; may be repeated",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output",
        metavar="FILE",
        default="-",
        help="append the messages to this file, as JSON lines; - is standard output (default: -)",
    )
    where.add_argument(
        "--config", metavar="FILE", help="TOML file with sinks and settings; options override it"
    )
    add_external_options(parser)
    add("--threads", metavar="N", type=int, help="threads of each tap (default: 1)")


def changes_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options as the keys of a configuration.

    Args:
        options: the parsed options.

    Returns:
        The `changes` of `netlog.config.file.load_config`.

    Thread safety: any thread.
    """
    changes = external_changes(options)
    if options.tun is not None:
        changes["tun"] = {"name": options.tun}
    if options.sock:
        changes["socks"] = options.sock
    if options.threads is not None:
        changes["threads"] = options.threads
    return changes


def _sock(text: str) -> dict[str, Any]:
    port, at, interface = text.partition("@")
    if not (port.isascii() and port.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a port, got {port!r}")
    return {"port": int(port)} | ({"interface": interface} if at else {})
