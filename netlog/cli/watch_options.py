"""The options of `netlog watch`, as a configuration has what they say."""

import argparse
from typing import Any

from netlog.cli.foreign_options import add_foreign_options, foreign_changes

__all__ = ["add_options", "changes_of"]


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
    add_foreign_options(parser)
    add("--threads", metavar="N", type=int, help="of each tap; default: 1")


def changes_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say, as a configuration has it.

    Args:
        options: as parsed.

    Returns:
        Keys for `netlog.config.load_config`.

    Thread safety: any thread.
    """
    changes = foreign_changes(options)
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
