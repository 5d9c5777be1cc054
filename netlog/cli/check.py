"""`netlog check CONFIG`: checks a configuration."""

import argparse
from collections.abc import Iterator
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.diagnostics import describe, say
from netlog.config.credentials import every_credential
from netlog.config.external import ExecConfig
from netlog.config.file import PlacedConfig, load_gateways
from netlog.config.lines import located
from netlog.config.node_file import open_node_file
from netlog.config.surroundings import doubts, lacks
from netlog.errors import ConfigError, NotMeterableError
from netlog.gateways.sinks import wrong_sinks
from netlog.preload.programs import find_program

__all__ = ["add_parser"]

DESCRIPTION = """\
Check the configuration of one or more gateways. netlog reports everything that is
wrong, each with file, line and key, and what it expected. It warns of what is valid
but probably not meant.

No interface, socket or output file is created. Files that the configuration names
(secrets, certificates, nodes) are read. For an `exec` gateway, check also verifies
that its command exists and can be metered.
"""
EPILOG = """\
exit status: 0 if the configuration is valid, also with warnings; 2 if not.
example: netlog check /etc/netlog/gateway.toml
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "check", DESCRIPTION, EPILOG)
    parser.add_argument("config", metavar="CONFIG", help="TOML file with the configuration")
    parser.set_defaults(execute=check)


def check(options: argparse.Namespace) -> int:
    """Check the configuration; a wrong one raises ConfigError, which gives exit status 2."""
    found: list[str] = []
    doubtful: list[str] = []
    for placed in load_gateways(options.config):
        found += _errors(placed)
        doubtful += (f"{placed.origin}: {each}" for each in doubts(placed.config))
    for line in str(located(ConfigError("\n".join(doubtful)), options.config)).splitlines():
        say(f"{line} (warning)")
    if found:
        raise located(ConfigError("\n".join(found)), options.config)
    say(f"{options.config}: valid")
    return 0


def _errors(placed: PlacedConfig) -> Iterator[str]:
    """Everything for which `netlog run` would fail, as far as it can be seen without starting."""
    config, origin = placed.config, placed.origin
    yield from (f"{origin}: {each}" for each in lacks(config))
    credentials, wrong = every_credential(config, origin)
    yield from wrong
    if not wrong:
        yield from wrong_sinks(config, credentials, origin)
    try:
        open_node_file(config.nodes)
    except ConfigError as error:
        yield from (f"{origin}: {each}" for each in str(error).split("\n"))
    if isinstance(config, ExecConfig) and config.command:
        try:
            find_program(config.command[0])
        except (NotMeterableError, FileNotFoundError) as error:
            yield f"{origin}: command: {describe(error)}"
