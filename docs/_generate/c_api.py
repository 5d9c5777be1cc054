"""The reference of the C interface, from the comments and declarations of its headers."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["page"]

CSRC = Path(__file__).resolve().parents[2] / "csrc"

COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
NOISE = re.compile(
    r"^\s*(/\* SPDX[^\n]*|#(ifndef|ifdef|endif|include)[^\n]*|extern \"C\" \{|\}|)$"
    r"|^#define (NETLOG_\w*H|NETLOG_API)\b[^\n]*$",
    re.MULTILINE,
)
NAME = re.compile(
    r"^(?:#define (?P<macro>\w+)|(?P<kind>struct|enum) (?P<tag>\w+)(?= \{)"
    r"|[\w *]*?\b(?P<call>netlog_\w+)\()",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """Declarations that stand together, with the comment above them."""

    comment: str
    code: str

    @property
    def names(self) -> list[str]:
        """What it declares."""
        plain = COMMENT.sub("", self.code)
        return [
            found["macro"] or (f"{found['kind']} {found['tag']}" if found["tag"] else found["call"])
            for found in NAME.finditer(plain)
        ]


def page() -> str:
    """The reference of both headers, as Markdown."""
    public = next(CSRC.rglob("netlog.h"))
    text = public.read_text()
    (records,) = re.findall(r'^#include "(.*flow\.h)"$', text, re.MULTILINE)
    return "\n".join([*_header(public), *_header(public.with_name(records))])


def _header(path: Path) -> Iterator[str]:
    about, *blocks = _blocks(path.read_text())
    yield f"## {path.name}\n"
    yield f"```text\n{about.comment}\n```\n"
    for block in blocks:
        if block.names:
            yield f"### {', '.join(f'`{name}`' for name in block.names)}\n"
        yield from _prose(block.comment)
        if block.code:
            yield f"```c\n{block.code}\n```\n"


def _blocks(text: str) -> Iterator[Block]:
    """The parts of a header that blank lines or comments separate, without what compilers need."""
    text = re.sub(r"^/\* SPDX.*?\*/\n", "", text)
    comment = ""
    code: list[str] = []
    for part in _parts(text):
        if part.startswith("/*"):
            if comment or code:
                yield Block(comment, "\n".join(code))
            comment, code = _plain(part), []
        elif not part and code:
            yield Block(comment, "\n".join(code))
            comment, code = "", []
        elif not NOISE.fullmatch(part):
            code.append(part.replace("NETLOG_API ", ""))
    if comment or code:
        yield Block(comment, "\n".join(code))


def _parts(text: str) -> Iterator[str]:
    """Whole comments that begin a line, and declarations."""
    lines = iter(text.splitlines())
    for line in lines:
        part = line
        if line.startswith("/*"):
            while not part.rstrip().endswith("*/"):
                part += "\n" + next(lines)
        else:
            while part.count("{") > part.count("}") and 'extern "C"' not in part:
                part += "\n" + next(lines)
        yield part


def _plain(comment: str) -> str:
    """A comment's text without what makes it one."""
    inner = comment.removeprefix("/*").removesuffix("*/").strip("\n ")
    lines = [re.sub(r"^ \* ?", "", line) for line in inner.splitlines()]
    groups = itertools.groupby(lines, lambda line: "\t" in line)
    return "\n".join("\n".join(_aligned(group) if tabs else group) for tabs, group in groups)


def _aligned(lines: Iterable[str]) -> Iterator[str]:
    """Lines whose cells tabs separate, in columns."""
    rows = [re.split(r"\t+", line.rstrip()) for line in lines]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join(cells).rstrip()


def _prose(comment: str) -> Iterator[str]:
    for paragraph in filter(None, re.split(r"\n\s*\n", comment)):
        text = re.sub(r"([\\*\[\]<>#])", r"\\\1", " ".join(paragraph.split()))
        yield (
            re.sub(r"(?<![\w`])(netlog_\w+(?:\(\))?|-E[A-Z0-9]+|NULL)(?!\w)", r"`\1`", text) + "\n"
        )
