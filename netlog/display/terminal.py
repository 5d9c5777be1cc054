"""Colour on a terminal, and text that cannot control it."""

import os
from typing import TextIO

__all__ = ["CLASS_COLORS", "Style", "printable", "takes_color"]

CLASS_COLORS = {"virtual": "32", "subnet": "36", "exit": "33", "physical": "35"}
"""SGR foreground colours (ECMA-48) of the traffic classes."""


class Style:
    """Paints text, if the output has colour.

    Args:
        color: whether the output understands SGR sequences.
    """

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def paint(self, text: str, code: str) -> str:
        """The text in the colour or weight of an SGR code."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def takes_color(stream: TextIO) -> bool:
    """Whether the stream is a terminal and its user wants colour (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def printable(text: str) -> str:
    """The text with `?` for each character that does not print: other hosts choose the names."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)
