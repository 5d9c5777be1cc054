"""In which line of a TOML file a key is: the reader of Python's library does not say."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from netlog.errors import ConfigError

__all__ = ["errors_of", "line_of", "located"]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEYS = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEYS})[ \t]*\]")
_ASSIGNED = re.compile(rf"[ \t]*({_KEYS})[ \t]*=")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|'
    r"'''.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)
"""What matters between the beginnings of keys: strings, comments, brackets and line breaks."""
_STEP = re.compile(r"[^.\[\]]+|\[[0-9]+\]")


def located(error: ConfigError, path: str | Path) -> ConfigError:
    """An error with the line in front of each key of the file whose line can be told.

    Args:
        error: the texts begin with the name of the file and the key.
        path: the file.

    Thread safety: any thread.
    """
    try:
        lines = dict(_lines(Path(path).read_text("utf-8")))
    except (OSError, ValueError):
        return error
    texts = str(error).split("\n")
    return ConfigError("\n".join(_with_line(each, str(path), lines) for each in texts))


@contextlib.contextmanager
def errors_of(origin: str) -> Iterator[None]:
    """Put the name of a configuration's file before the keys of errors that come up in the block.

    Thread safety: any thread.
    """
    try:
        yield
    except ConfigError as error:
        lines = (f"{origin}: {line}" for line in str(error).split("\n"))
        raise ConfigError("\n".join(lines)) from error


def line_of(text: str, key: str) -> int | None:
    """The line of a key such as `peers[0].endpoint`, or of the nearest table that has it.

    Args:
        text: valid TOML.
        key: as in an error.

    Returns:
        The line, from 1; None: unknown.

    Thread safety: any thread.
    """
    return _nearest(dict(_lines(text)), key)


def _with_line(text: str, origin: str, lines: dict[str, int]) -> str:
    rest = text.removeprefix(f"{origin}: ")
    # A gateway of several is a part of the error's origin.
    if rest == text or not (match := re.match(r"(gateways\[[0-9]+\])?(?:: )?([^:\s]*)", rest)):
        return text
    line = _nearest(lines, ".".join(filter(None, match.groups())))
    return text if line is None else f"{origin}: line {line}: {rest}"


def _nearest(lines: dict[str, int], key: str) -> int | None:
    steps = _STEP.findall(key)
    for length in range(len(steps), 0, -1):
        if (line := lines.get(_joined(steps[:length]))) is not None:
            return line
    return None


def _joined(steps: list[str]) -> str:
    return "".join(step if step.startswith("[") else f".{step}" for step in steps)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Each key and table with its line. Tables inside of a value are left out."""
    table: list[str] = []
    count: dict[str, int] = {}
    depth, at, line = 0, 0, 1
    begins = True
    while at < len(text):
        if begins and depth == 0:
            if match := _HEADER.match(text, at):
                table = _numbered(_steps(match[2]), count, is_list=match[1] == "[[")
                yield _joined(table), line
                at = _end_of_line(text, match.end())
                continue
            if match := _ASSIGNED.match(text, at):
                steps = _steps(match[1])
                for length in range(1, len(steps) + 1):
                    yield _joined([*table, *steps[:length]]), line
                at = match.end()
        begins = False
        if (token := _TOKEN.search(text, at)) is None:
            return
        at = token.end()
        line += token[0].count("\n")
        begins = token[0] == "\n"
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))


def _end_of_line(text: str, at: int) -> int:
    """The next line break, before which there can be only a comment."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _steps(keys: str) -> list[str]:
    return [each.strip("\"'") for each in re.findall(_KEY, keys)]


def _numbered(steps: list[str], count: dict[str, int], *, is_list: bool) -> list[str]:
    """The path of a table, with the number of each table in a list of tables."""
    path: list[str] = []
    for i, step in enumerate(steps):
        path.append(step)
        name = _joined(path)
        if is_list and i == len(steps) - 1:
            count[name] = count.get(name, -1) + 1
        if name in count:
            path.append(f"[{count[name]}]")
    return path
