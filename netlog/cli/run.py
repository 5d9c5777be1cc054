"""`netlog run CONFIG`: one gateway or several, until told to stop."""

import argparse
from typing import Any

from netlog.cli.gateways import run_gateways
from netlog.config.external import ExecConfig
from netlog.config.file import load_gateways
from netlog.errors import ConfigError

__all__ = ["add_parser"]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "run",
        help="run what a configuration says, and log its traffic",
        description="Run the gateways of a configuration, until SIGINT or SIGTERM, and emit flow "
        "log messages. A relay: make its TUN interface, and carry packets to the peers over UDP; "
        "it does not encrypt. An exec: start a VPN daemon as it is, and end it in the end. A "
        "watch: tap interfaces. SIGHUP opens files anew, as after logrotate; SIGUSR1 prints the "
        "counters.",
        epilog="exit status: 0 when told to stop, 1 on failure, 2 if the configuration is wrong. "
        "example: sudo netlog run /etc/netlog/gateway.toml",
    )
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateways")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Run until a signal comes, or until all gateways have ended by themselves."""
    placed = load_gateways(options.config)
    for each in placed:
        if isinstance(each.config, ExecConfig) and not each.config.command:
            raise ConfigError(f"{each.origin}: command: expected a value, the key is missing")
    return run_gateways(placed)
