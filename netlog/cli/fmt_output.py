"""What `netlog fmt` does with messages: it selects, adds up, and prints what is left."""

import argparse
import sys
from collections.abc import Iterable
from typing import Protocol

from netlog.display.terminal import Style, takes_color
from netlog.fmt.names import Names
from netlog.fmt.record import FlowLog
from netlog.fmt.select import Selection
from netlog.fmt.table import TextTable
from netlog.fmt.total import Total

__all__ = ["FmtOutput"]


class _Form(Protocol):
    """The form in which messages are shown; no text ends with a newline."""

    def begin(self) -> Iterable[str]:
        """The text before the first message."""

    def record(self, record: FlowLog) -> Iterable[str]:
        """The text of one message."""

    def end(self) -> Iterable[str]:
        """The text after the last message."""


class FmtOutput:
    """The output, in the form that was asked for; what comes before the messages is printed.

    Args:
        options: the parsed options of `netlog fmt`.

    Thread safety: one thread.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._selection = Selection(options.classes, options.since, options.until, options.filter)
        self._form = _form(options)
        self._total = Total() if options.total else None
        _print(self._form.begin())

    def add(self, record: FlowLog) -> None:
        """Print what is wanted of a message, or add it to the total."""
        wanted = self._selection.apply(record)
        if wanted is None:
            return
        if self._total is None:
            _print(self._form.record(wanted))
        else:
            self._total.add(wanted)

    def end(self) -> None:
        """Print the total, and what comes after the messages."""
        for record in self._total.records() if self._total is not None else ():
            _print(self._form.record(record))
        _print(self._form.end())


def _form(options: argparse.Namespace) -> _Form:
    names = Names(options.resolve)
    if options.json or options.csv:
        from netlog.fmt.lines import CsvLines, JsonLines  # noqa: PLC0415 - not for tables

        return JsonLines() if options.json else CsvLines(names)
    return TextTable(Style(color=takes_color(sys.stdout)), names)


def _print(texts: Iterable[str]) -> None:
    if text := "".join(f"{text}\n" for text in texts):
        sys.stdout.write(text)
        sys.stdout.flush()
