"""A terminal to print tables to. This module loads rich: import it only for a terminal."""

from typing import TextIO

from rich.console import Console

from netlog.display.terminal import takes_color

__all__ = ["open_console"]


def open_console(stream: TextIO) -> Console:
    """A console that prints text as it is; with NO_COLOR, it has neither colours nor weights."""
    return Console(
        file=stream,
        color_system="auto" if takes_color(stream) else None,
        markup=False,  # a bracket begins an IPv6 address
        emoji=False,
        highlight=False,
    )
