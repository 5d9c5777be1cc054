"""A Griffe extension: sections of netlog's docstrings that are no sections of Google's style.

`Thread safety:` and `Source:` begin a paragraph, whose further lines are indented. Griffe would
take such a paragraph for an admonition, and its first line for the title.
"""

import re
from typing import Any

import griffe

__all__ = ["Paragraphs"]

PARAGRAPH = re.compile(r"^(Thread safety|Source): (.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


class Paragraphs(griffe.Extension):
    """Makes them paragraphs that begin with a bold word."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - Griffe's own
        """Look at the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = PARAGRAPH.sub(_bold, obj.docstring.value)


def _bold(found: re.Match[str]) -> str:
    return f"\n**{found[1]}:** {' '.join(found[2].split())}\n"
