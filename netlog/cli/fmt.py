"""`netlog fmt [FILE...]`: flow logs from any JSON stream as tables, CSV or JSON lines."""

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
Read flow log messages from JSON and show them: bare lines, arrays, API responses {"logs": [...]},
Splunk HEC envelopes, logtail bodies; plain, gzip or zstd. Other objects are skipped. A message is
shown as soon as it has come. Rates are per second of the message's period; times are UTC. What a
sink dropped is shown where it says so. After bytes that are no JSON, reading goes on with the next
line that begins with a bracket; what was skipped is said on standard error.
"""
GRAMMAR = """\
filter expressions, with parentheses, and/or/not (not binds tightest, or loosest):
  [src|dst] ADDRESS | PREFIX       an end is that address, or in that prefix; also: addr, net
  [src|dst] port N | N-M           an end has that port
  [src|dst] node NAME              an end is that node: id, name (whole or first label), user, tag;
                                   without src or dst also the node that reports
  [proto] NAME, proto N            such as tcp, udp, icmp
  class virtual|subnet|exit|physical

exit status: 0 if all could be read, 1 if not, 2 on wrong usage.
example: netlog fmt --since 2h --filter 'tcp and dst port 443 and not node db' flows.jsonl.zst
"""


class Output(Protocol):
    """How messages are shown; each text has no newline at its end."""

    def begin(self) -> Iterable[str]:
        """What comes before the first message."""

    def record(self, record: FlowLog) -> Iterable[str]:
        """A message."""

    def end(self) -> Iterable[str]:
        """What comes after the last message."""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "fmt",
        help="show flow logs as tables, CSV or JSON lines",
        description=DESCRIPTION,
        epilog=GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="default, and -: standard input")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="messages as JSON lines")
    form.add_argument("--csv", action="store_true", help="one row a connection, with a header")
    parser.add_argument(
        "--total",
        action="store_true",
        help="one message a node that sums up all of its; at the end of the input",
    )
    parser.add_argument(
        "--resolve",
        choices=[names.value for names in Names if names is not Names.ADDRESS],
        default=Names.ADDRESS.value,
        help="show nodes by what the message says of them",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        type=_classes,
        default=CLASSES,
        metavar="CLASS[,CLASS...]",
        help=f"only these classes of traffic: {', '.join(CLASSES)}",
    )
    moment = "RFC 3339, or how long ago: 90s, 10m, 2h, 3d, 1w"
    parser.add_argument(
        "--since", type=_moment, metavar="TIME", help=f"periods that end at TIME or later; {moment}"
    )
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="periods that begin before TIME; as above"
    )
    parser.add_argument(
        "--filter", type=_filter, metavar="EXPR", help="only these connections; see below"
    )
    parser.set_defaults(execute=fmt)


def fmt(options: argparse.Namespace) -> int:
    """Show the files, one after the other; the exit status says whether all could be read."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "standard output")
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
    """The messages of a file, less what is damaged, which is said on standard error."""

    def __init__(self, path: str, *, keep_tree: bool) -> None:
        self.name = "standard input" if path == STDIN else path
        self.n_records = 0
        self.damaged = False
        self._path = path
        self._keep_tree = keep_tree

    def __iter__(self) -> Iterator[FlowLog]:
        reading = self._read()
        while True:
            # What fails in here is the input; a failure of the output must not look like it.
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
