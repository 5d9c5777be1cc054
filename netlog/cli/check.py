"""`netlog check CONFIG`: checks a configuration."""

import argparse
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.diagnostics import describe, say
from netlog.config.credentials import read_credentials
from netlog.config.external import ExecConfig
from netlog.config.file import load_gateways
from netlog.config.node_file import NodeFile
from netlog.errors import ConfigError, NotMeterableError
from netlog.gateways.sinks import check_sinks
from netlog.preload.programs import find_program

__all__ = ["add_parser"]

DESCRIPTION = """\
Check the configuration of one or more gateways. If something is wrong, netlog
names the file and the key, and says what it expected.

No interface, socket or output file is created. Files that the configuration names
(secrets, certificates, nodes) are read. For an `exec` gateway, check also verifies
that its command exists and can be metered.
"""
EPILOG = """\
exit status: 0 if the configuration is valid, 2 if not.
example: netlog check /etc/netlog/gateway.toml
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "check", DESCRIPTION, EPILOG)
    parser.add_argument("config", metavar="CONFIG", help="TOML file with the configuration")
    parser.set_defaults(execute=check)


def check(options: argparse.Namespace) -> int:
    """Check the configuration; a wrong one raises ConfigError, which gives exit status 2."""
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
    say(f"{options.config}: valid")
    return 0
