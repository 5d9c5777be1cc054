"""`netlog check CONFIG`: is the configuration right?"""

import argparse
from typing import Any

from netlog.cli.diagnostics import describe, say
from netlog.config.credentials import read_credentials
from netlog.config.external import ExecConfig
from netlog.config.file import load_gateways
from netlog.config.node_file import NodeFile
from netlog.errors import ConfigError, NotMeterableError
from netlog.gateways.sinks import check_sinks
from netlog.preload.programs import find_program

__all__ = ["add_parser"]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check",
        help="check a configuration without touching the system",
        description="Read the configuration of gateways and say what is wrong with it, without "
        "making an interface, a socket or a file. The files that it names are read: secrets, "
        "certificates, nodes. That a command is there, and can be metered, is seen too.",
        epilog="exit status: 0 if it is right, 2 if not. "
        "example: netlog check /etc/netlog/gateway.toml",
    )
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateways")
    parser.set_defaults(execute=check)


def check(options: argparse.Namespace) -> int:
    """Check the configuration; a wrong one raises ConfigError, which is exit status 2."""
    for placed in load_gateways(options.config):
        config = placed.config
        check_sinks(config, read_credentials(config, placed.origin), placed.origin)
        if config.nodes is not None:
            NodeFile(config.nodes.file)
        if isinstance(config, ExecConfig) and config.command:
            try:
                find_program(config.command[0])
            except (NotMeterableError, FileNotFoundError) as error:
                raise ConfigError(f"{placed.origin}: command: {describe(error)}") from error
    say(f"{options.config}: right")
    return 0
