"""`netlog fmt [FILE...]`: shows flow logs from any JSON stream as tables, CSV or JSON lines."""

import argparse
from typing import TYPE_CHECKING, Any

from netlog.cli.commands import add_command
from netlog.model.classes import CLASSES

if TYPE_CHECKING:
    from netlog.fmt.select import Predicate

__all__ = ["RESOLVABLE", "add_parser"]

RESOLVABLE = ("id", "name", "user")
"""What can stand for a node; `netlog.fmt.names.Names` without the address."""

DESCRIPTION = """\
Read flow log messages and show them as tables, CSV or JSON lines.

The input is JSON: lines, arrays, API responses {"logs": [...]}, Splunk HEC
envelopes or logtail bodies. It may be compressed with gzip or zstd. Objects that
are not messages are skipped.

Each message is shown as soon as it arrives. Rates are per second of the message's
period. Times are UTC. Messages that a sink dropped are shown where the log reports
them.

After invalid JSON, reading continues at the next line that begins with a bracket.
netlog reports on standard error what it skipped.
"""
GRAMMAR = """\
filter expressions, with not, and, or (in this order of precedence) and parentheses:
  [src|dst] ADDRESS | PREFIX       an end is this address, or lies in this prefix;
                                   long form: addr ADDRESS, net PREFIX
  [src|dst] port N | N-M           an end has this port, or a port in this range
  [src|dst] node NAME              an end is this node: its id, name (whole or first
                                   label), user or tag; without src or dst, also every
                                   connection that this node reports
  [proto] NAME, proto N            the protocol is this one, such as tcp, udp or icmp
  class virtual|subnet|exit|physical

exit status: 0 if all input could be read, 1 if not, 2 on wrong usage.
example: netlog fmt --since 2h --filter 'tcp and dst port 443 and not node db' \\
             flows.jsonl.zst
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "fmt", DESCRIPTION, GRAMMAR)
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="file to read; - is standard input (default: -)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print messages as JSON lines")
    form.add_argument(
        "--csv", action="store_true", help="print one row per connection, after a header"
    )
    parser.add_argument(
        "--total",
        action="store_true",
        help="at the end of the input, show one message per node: the sum of all its messages",
    )
    parser.add_argument(
        "--resolve",
        choices=RESOLVABLE,
        default="address",
        help="show nodes by their id, name or user, as the message gives it",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        type=_classes,
        default=CLASSES,
        metavar="CLASS[,CLASS...]",
        help=f"show only these classes of traffic: {', '.join(CLASSES)}",
    )
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="TIME",
        help="show only periods that end at TIME or later; TIME is RFC 3339, or how long ago: "
        "90s, 10m, 2h, 3d, 1w",
    )
    parser.add_argument(
        "--until",
        type=_moment,
        metavar="TIME",
        help="show only periods that begin before TIME; TIME as for --since",
    )
    parser.add_argument(
        "--filter",
        type=_filter,
        metavar="EXPR",
        help="show only connections that match this expression; see below",
    )
    parser.set_defaults(execute=fmt)


def fmt(options: argparse.Namespace) -> int:
    """Show the files; the exit status says whether all of them were read."""
    from netlog.cli.fmt_files import show_files  # noqa: PLC0415 - not needed for --help

    return show_files(options)


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.lower().split(","))
    for name in names:
        if name not in CLASSES:
            raise argparse.ArgumentTypeError(f"{name!r}: expected {', '.join(CLASSES)}")
    return names


def _moment(text: str) -> int:
    from netlog.fmt.select import parse_moment  # noqa: PLC0415 - few commands have a time

    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _filter(text: str) -> "Predicate":
    from netlog.fmt.expression import parse_filter  # noqa: PLC0415 - few commands have a filter

    try:
        return parse_filter(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
