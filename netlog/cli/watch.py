"""`netlog watch`: meter a gateway that is not ours, by taps on its interfaces."""

import argparse
from typing import Any

from netlog.cli.external_options import add_external_options, external_changes
from netlog.cli.gateways import run_gateways
from netlog.config.external import WatchConfig
from netlog.config.file import COMMAND_LINE, PlacedConfig, load_config

__all__ = ["add_options", "add_parser", "changes_of"]


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
        "example: sudo netlog watch --tun wg0 --sock 51820 --source wireguard:wg0",
    )
    add_options(parser)
    parser.set_defaults(execute=watch, parser=parser)


def watch(options: argparse.Namespace) -> int:
    """Watch until a signal comes, or until nobody can read the messages any more."""
    if options.tun is None and options.config is None:
        options.parser.error("--tun is needed, or a configuration that names it")
    config = load_config(options.config, WatchConfig, changes_of(options))
    return run_gateways([PlacedConfig(config, options.config or COMMAND_LINE)])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the command's parser; values are checked as those of a configuration."""
    add = parser.add_argument
    add("--tun", metavar="IFACE", help="the interface with the virtual traffic")
    add(
        "--sock",
        metavar="PORT[@IFACE]",
        type=_sock,
        action="append",
        default=[],
        help="a local UDP port that carries it, on an interface or on all; may be repeated",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output", metavar="FILE", default="-", help="JSON lines go here; -: standard output"
    )
    where.add_argument(
        "--config", metavar="FILE", help="a TOML file, for what options do not say; with sinks"
    )
    add_external_options(parser)
    add("--threads", metavar="N", type=int, help="of each tap; default: 1")


def changes_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say, as a configuration has it.

    Args:
        options: as parsed.

    Returns:
        Keys for `netlog.config.file.load_config`.

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
