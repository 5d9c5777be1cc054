"""What `netlog fmt` does with its files: it reads them, and reports what is damaged."""

import argparse
import errno
import io
import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netlog.cli.diagnostics import describe, say
from netlog.cli.importing import importing
from netlog.cli.progress import ReadingBar
from netlog.fmt.source import STDIN, SourceError, read_chunks, unpack

if TYPE_CHECKING:
    from netlog.cli.fmt_output import FmtOutput
    from netlog.fmt.damage import Damage
    from netlog.fmt.record import FlowLog

__all__ = ["show_files"]


def show_files(options: argparse.Namespace) -> int:
    """Show the files, one after the other.

    Args:
        options: the parsed options of `netlog fmt`.

    Returns:
        The exit status: 0 if all input could be read.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Without any message, CSV has a header.
    output = _open_output(options) if options.csv else None
    paths = options.files or (STDIN,)
    status = 0
    with ReadingBar(paths, output_at_end=options.total) as bar:
        for path in paths:
            records = _Records(path, bar, keep_tree=options.json and not options.total)
            for record in records:
                output = output or _open_output(options)
                output.add(record)
            if records.damaged:
                status = 1
            elif not records.n_records:
                say(f"{records.name}: no flow log messages")
    if output is not None:
        output.end()
    return status


def _open_output(options: argparse.Namespace) -> "FmtOutput":
    with importing():
        from netlog.cli.fmt_output import FmtOutput  # noqa: PLC0415 - with the first message

    return FmtOutput(options)


class _Records:
    """The messages of a file. Damage is skipped, and reported on standard error."""

    def __init__(self, path: str, bar: ReadingBar, *, keep_tree: bool) -> None:
        self.name = "standard input" if path == STDIN else path
        self.n_records = 0
        self.damaged = False
        self._path = path
        self._bar = bar
        self._keep_tree = keep_tree

    def __iter__(self) -> "Iterator[FlowLog]":
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

    def _read(self) -> "Iterator[FlowLog]":
        chunks = unpack(self._bar.counted(read_chunks(self._path)))
        for first in chunks:
            yield from self._read_some(itertools.chain((first,), chunks))

    def _read_some(self, chunks: Iterator[bytes]) -> "Iterator[FlowLog]":
        # Imported with the first bytes: what reads messages takes half of the start of `fmt`.
        with importing():
            from netlog.fmt.damage import Damage, read_values  # noqa: PLC0415
            from netlog.fmt.record import read_records  # noqa: PLC0415
            from netlog.fmt.split import ReadError  # noqa: PLC0415

        for value in read_values(chunks, self._skip):
            try:
                yield from read_records(value, keep_tree=self._keep_tree)
            except ReadError as error:
                self._skip(Damage(error, value.offset, value.offset + len(value.data)))

    def _skip(self, damage: "Damage") -> None:
        self._say(f"{self.name}: {damage}")

    def _say(self, line: str) -> None:
        say(line)
        self.damaged = True
