"""What `netlog fmt` does with its files: reads them, selects, and shows what is left."""

import argparse
import errno
import io
import sys
from collections.abc import Iterable, Iterator
from typing import Protocol

from netlog.cli.diagnostics import describe, say
from netlog.cli.progress import ReadingBar
from netlog.display.terminal import Style, takes_color
from netlog.fmt.damage import Damage, read_values
from netlog.fmt.lines import CsvLines, JsonLines
from netlog.fmt.names import Names
from netlog.fmt.record import FlowLog, read_records
from netlog.fmt.select import Selection
from netlog.fmt.source import STDIN, SourceError, read_chunks, unpack
from netlog.fmt.split import ReadError
from netlog.fmt.table import TextTable
from netlog.fmt.total import Total

__all__ = ["show_files"]


class Output(Protocol):
    """The form in which messages are shown; no text ends with a newline."""

    def begin(self) -> Iterable[str]:
        """The text before the first message."""

    def record(self, record: FlowLog) -> Iterable[str]:
        """The text of one message."""

    def end(self) -> Iterable[str]:
        """The text after the last message."""


def show_files(options: argparse.Namespace) -> int:
    """Show the files, one after the other.

    Args:
        options: the parsed options of `netlog fmt`.

    Returns:
        The exit status: 0 if all input could be read.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    selection = Selection(options.classes, options.since, options.until, options.filter)
    output = _output(options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    total = Total() if options.total else None
    paths = options.files or (STDIN,)
    status = 0
    _show(output.begin())
    with ReadingBar(paths, output_at_end=total is not None) as bar:
        for path in paths:
            records = _Records(path, bar, keep_tree=options.json and total is None)
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

    def __init__(self, path: str, bar: ReadingBar, *, keep_tree: bool) -> None:
        self.name = "standard input" if path == STDIN else path
        self.n_records = 0
        self.damaged = False
        self._path = path
        self._bar = bar
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
        chunks = unpack(self._bar.counted(read_chunks(self._path)))
        for value in read_values(chunks, self._skip):
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
