"""`netlog check CONFIG`: is the configuration right?"""

import argparse
from typing import Any

from netlog.cli.output import say
from netlog.config import load_config
from netlog.credentials import read_credentials
from netlog.node_file import NodeFile
from netlog.sinks.open import check_sinks

__all__ = ["add_parser"]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "check",
        help="check a configuration without touching the system",
        description="Read a gateway's configuration and say what is wrong with it, without making "
        "an interface, a socket or a file. The files that it names are read: secrets, "
        "certificates, nodes.",
        epilog="exit status: 0 if it is right, 2 if not. "
        "example: netlog check /etc/netlog/gateway.toml",
    )
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateway")
    parser.set_defaults(execute=check)


def check(options: argparse.Namespace) -> int:
    """Check the configuration; a wrong one raises ConfigError, which is exit status 2."""
    config = load_config(options.config)
    credentials = read_credentials(config, options.config)
    check_sinks(config, credentials, options.config)
    if config.nodes is not None:
        NodeFile(config.nodes.file)
    say(f"{options.config}: right")
    return 0
