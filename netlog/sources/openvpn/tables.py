"""The two tables in the status of an OpenVPN server, as rows of text by the names of their columns.

Versions 1, 2 and 3 (`--status-version`, `status N`). Names are chosen by clients and may have
commas. Version 3 parts columns by tabs, which no name has; in the others a line with more commas
than columns can be read in several ways, and all of them are given.

Source: multi_print_status() of OpenVPN, and what 2.6.14 wrote.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["CLIENTS", "NAME", "ROUTES", "USER", "Row", "TableLine", "read_tables"]

CLIENTS, ROUTES = "CLIENT_LIST", "ROUTING_TABLE"
NAME, USER = "Common Name", "Username"

MAX_LINE_BYTES = 16384
"""OpenVPN keeps a name below 4096 bytes."""
MAX_COMMAS = 64
"""In the names of one line, where there are two: each is one more way to read it."""

_FREE = frozenset({NAME, USER})  # columns whose text a client chooses
_TABLES = {CLIENTS.encode(): CLIENTS, ROUTES.encode(): ROUTES}
_TITLES = {b"OpenVPN CLIENT LIST": CLIENTS, b"ROUTING TABLE": ROUTES, b"GLOBAL STATS": ""}
_OTHERS = frozenset({b"TITLE", b"TIME", b"GLOBAL_STATS"})

Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line of a table.

    Attributes:
        number: its own, from 1.
        table: `CLIENTS` or `ROUTES`.
        ways: the ways to read it, as text by column; none: there are too many. What UTF-8 can not
            say is lone surrogates (PEP 383).
    """

    number: int
    table: str
    ways: tuple[Row, ...]


def read_tables(status: bytes) -> Iterator[TableLine]:
    """Read the tables of a status.

    Args:
        status: all of it, from its title to END; lines end with LF or CRLF.

    Returns:
        The lines of both tables.

    Raises:
        ValueError: it is none of a server, or not whole; while the lines are taken.

    Thread safety: any thread.
    """
    *lines, rest = (line.removesuffix(b"\r") for line in status.split(b"\n"))
    if rest or lines[-1:] != [b"END"] or b"END" in lines[:-1]:
        raise ValueError("the status is not whole")
    del lines[-1]
    title = lines[0] if lines else b""
    if title == b"OpenVPN CLIENT LIST":
        return _with_titles(lines)
    if title.startswith((b"TITLE,", b"TITLE\t")):
        return _with_kinds(lines, title[5:6])
    if title == b"OpenVPN STATISTICS":
        raise ValueError("the status of a client does not say who is at the other end")
    raise ValueError("line 1: expected the title of a status")


def _with_kinds(lines: list[bytes], separator: bytes) -> Iterator[TableLine]:
    """Versions 2 and 3: each line says what it is; a table has a header ahead of it."""
    headers: dict[bytes, list[str]] = {}
    for number, line in enumerate(lines, 1):
        kind, _, fields = line.partition(separator)
        if kind == b"HEADER":
            table, *names = fields.split(separator)
            headers[table] = [_text(name) for name in names]
        elif kind in headers:
            if kind in _TABLES:
                ways = _ways(number, fields, headers[kind], separator)
                yield TableLine(number, _TABLES[kind], ways)
        elif kind not in _OTHERS:
            raise ValueError(f"line {number}: expected a line of a table with a header")


def _with_titles(lines: list[bytes]) -> Iterator[TableLine]:
    """Version 1: tables have a title each, a line of header, and lines that say nothing more."""
    table, names = "", None
    for number, line in enumerate(lines, 1):
        if line in _TITLES:
            table, names = _TITLES[line], None
        elif not table or (names is None and line.startswith(b"Updated,")):
            continue
        elif names is None:
            names = [_text(name) for name in line.split(b",")]
        else:
            yield TableLine(number, table, _ways(number, line, names, b","))


def _ways(number: int, line: bytes, names: list[str], separator: bytes) -> tuple[Row, ...]:
    """All ways to read a line."""
    fields = line.split(separator)
    free = [at for at, name in enumerate(names) if name in _FREE]
    more = len(fields) - len(names)
    if len(line) > MAX_LINE_BYTES or more < 0 or (more and (separator != b"," or not free)):
        raise ValueError(f"line {number}: expected {len(names)} columns")
    if not more:
        return (dict(zip(names, map(_text, fields), strict=True)),)
    if len(free) == 1:
        shares = [{free[0]: more}]
    elif more > MAX_COMMAS:
        shares = []
    else:
        shares = [{free[0]: one, free[-1]: more - one} for one in range(more + 1)]
    return tuple(_row(fields, names, share) for share in shares)


def _row(fields: list[bytes], names: list[str], share: Mapping[int, int]) -> Row:
    """The row in which columns have so many commas."""
    row, at = {}, 0
    for column, name in enumerate(names):
        end = at + 1 + share.get(column, 0)
        row[name] = _text(b",".join(fields[at:end]))
        at = end
    return row


def _text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
