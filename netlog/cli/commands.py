"""The commands: what each does in one line, and the frame of its parser."""

import argparse
from typing import Any

__all__ = ["COMMANDS", "add_command"]

COMMANDS = {
    "run": "run the gateways of a configuration, and log their traffic",
    "exec": "run an unmodified VPN daemon, and log its traffic",
    "watch": "tap the interfaces of a VPN, and log its traffic",
    "read": "turn packet captures into messages",
    "check": "check a configuration without changing anything",
    "demo": "run two gateways in namespaces, and compare with the kernel's counters",
    "fmt": "show flow logs as tables, CSV or JSON lines",
    "newid": "create a private id for an http sink",
}
"""Each is a module of this package. Only the requested one is imported: importing the modules of a
gateway takes longer than reading a capture of a million packets."""


def add_command(
    commands: "argparse._SubParsersAction[Any]", name: str, description: str = "", epilog: str = ""
) -> argparse.ArgumentParser:
    """Add a command to the command line.

    Args:
        commands: those of the command line.
        name: one of COMMANDS.
        description: the text above its options; shown as it is, here and below.
        epilog: the text below them.

    Returns:
        Its parser, to which the command adds its arguments.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=COMMANDS[name],
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
