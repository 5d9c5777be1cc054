"""`netlog watch`: meter a gateway that is not ours, by taps on its interfaces."""

import argparse
from typing import Any

from netlog.cli.gateways import run_gateways
from netlog.cli.watch_options import add_options, changes_of
from netlog.config import COMMAND_LINE, PlacedConfig, load_config
from netlog.watch_config import WatchConfig

__all__ = ["add_parser"]


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
