"""`netlog fmt [FILE...]`: shows flow logs from any JSON stream as tables, CSV or JSON lines."""

import argparse
import errno
import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from netlog.cli.diagnostics import describe, say
from netlog.display.terminal import Style, takes_color
from netlog.fmt.damage import Damage, read_values
from netlog.fmt.expression import FilterError, Predicate, parse_filter
from netlog.fmt.lines import CsvLines, JsonLines
from netlog.fmt.names import Names
from netlog.fmt.record import CLASSES, FlowLog, read_records
from netlog.fmt.select import Selection, parse_moment
from netlog.fmt.source import STDIN, SourceError, read_chunks, unpack
from netlog.fmt.split import ReadError
from netlog.fmt.table import TextTable
from netlog.fmt.total import Total

__all__ = ["add_parser"]

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


class Output(Protocol):
    """The form in which messages are shown; no text ends with a newline."""

    def begin(self) -> Iterable[str]:
        """The text before the first message."""

    def record(self, record: FlowLog) -> Iterable[str]:
        """The text of one message."""

    def end(self) -> Iterable[str]:
        """The text after the last message."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "fmt",
        help="show flow logs as tables, CSV or JSON lines",
        description=DESCRIPTION,
        epilog=GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        choices=[names.value for names in Names if names is not Names.ADDRESS],
        default=Names.ADDRESS.value,
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
    """Show the files, one after the other; the exit status says whether all were read."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    selection = Selection(options.classes, options.since, options.until, options.filter)
    output = _output(options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    total = Total() if options.total else None
    status = 0
    _show(output.begin())
    for path in options.files or (STDIN,):
        records = _Records(path, keep_tree=options.json and total is None)
        for record in records:
            wanted = selection.apply(record)
            if wanted is None:
                continue
            if total is None:
                _show(output.record(wanted))
            else:
                total.add(wanted)
        if records.damaged:
            status = 1
        elif not records.n_records:
            say(f"{records.name}: no flow log messages")
    for record in total.records() if total is not None else ():
        _show(output.record(record))
    _show(output.end())
    return status


class _Records:
    """The messages of a file. Damage is skipped, and reported on standard error."""

    def __init__(self, path: str, *, keep_tree: bool) -> None:
        self.name = "standard input" if path == STDIN else path
        self.n_records = 0
        self.damaged = False
        self._path = path
        self._keep_tree = keep_tree

    def __iter__(self) -> Iterator[FlowLog]:
        reading = self._read()
        while True:
            # Only the input can fail here. A failure of the output must not be reported as one.
            try:
                record = next(reading, None)
            except SourceError as error:
                self._say(f"{self.name}: {error}")
                return
            except OSError as error:
                error.filename = self.name
                self._say(describe(error))
                return
            if record is None:
                return
            self.n_records += 1
            yield record

    def _read(self) -> Iterator[FlowLog]:
        for value in read_values(unpack(read_chunks(self._path)), self._skip):
            try:
                yield from read_records(value, keep_tree=self._keep_tree)
            except ReadError as error:
                self._skip(Damage(error, value.offset, value.offset + len(value.data)))

    def _skip(self, damage: Damage) -> None:
        self._say(f"{self.name}: {damage}")

    def _say(self, line: str) -> None:
        say(line)
        self.damaged = True


def _output(options: argparse.Namespace) -> Output:
    names = Names(options.resolve)
    if options.json:
        return JsonLines()
    if options.csv:
        return CsvLines(names)
    return TextTable(Style(color=takes_color(sys.stdout)), names)


def _show(texts: Iterable[str]) -> None:
    if text := "".join(f"{text}\n" for text in texts):
        sys.stdout.write(text)
        sys.stdout.flush()


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.lower().split(","))
    for name in names:
        if name not in CLASSES:
            raise argparse.ArgumentTypeError(f"{name!r}: expected {', '.join(CLASSES)}")
    return names


def _moment(text: str) -> int:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _filter(text: str) -> Predicate:
    try:
        return parse_filter(text)
    except FilterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
