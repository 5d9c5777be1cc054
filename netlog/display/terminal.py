"""Colour on a terminal, and text that can not drive it."""

import os
from typing import TextIO

__all__ = ["CLASS_COLORS", "Style", "printable", "takes_color"]

CLASS_COLORS = {"virtual": "32", "subnet": "36", "exit": "33", "physical": "35"}
"""SGR foreground colours (ECMA-48) of the traffic classes."""


class Style:
    """Colour, or none.

    Args:
        color: whether the output takes SGR sequences.
    """

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def paint(self, text: str, code: str) -> str:
        """The text in the colour or weight of an SGR code."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def takes_color(stream: TextIO) -> bool:
    """Whether it is a terminal whose user wants colour (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def printable(text: str) -> str:
    """The text with `?` for whatever does not print: names come from others."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)
