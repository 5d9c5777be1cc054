"""`netlog run CONFIG`: runs one or more gateways, until a signal asks to stop."""

import argparse
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.gateways import run_gateways
from netlog.config.external import ExecConfig
from netlog.config.file import load_gateways
from netlog.errors import ConfigError

__all__ = ["add_parser"]

DESCRIPTION = """\
Run the gateways of a configuration until SIGINT or SIGTERM, and log their traffic.
Each gateway has a type:

  relay  creates a TUN interface, and carries its packets to the peers over UDP;
         it does not encrypt
  exec   starts an unmodified VPN daemon, meters it, and stops it at the end
  watch  taps the interfaces of a VPN

SIGHUP reopens the output files, for example after logrotate. SIGUSR1 prints the
counters.
"""
EPILOG = """\
exit status: 0 if a signal asked to stop, 1 on failure, 2 if the configuration is
wrong.
example: sudo netlog run /etc/netlog/gateway.toml
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "run", DESCRIPTION, EPILOG)
    parser.add_argument("config", metavar="CONFIG", help="TOML file with the configuration")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Run until a signal arrives, or until all gateways have ended on their own."""
    placed = load_gateways(options.config)
    for each in placed:
        if isinstance(each.config, ExecConfig) and not each.config.command:
            raise ConfigError(f"{each.origin}: command: expected a value, but the key is missing")
    return run_gateways(placed)
