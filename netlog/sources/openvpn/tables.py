"""The two tables in the status of an OpenVPN server, as rows of text by column name.

This parses versions 1, 2 and 3 (`--status-version`, `status N`). Clients choose their names, which
may contain commas. Version 3 separates columns by tabs, which no name contains. In the others a
line with more commas than columns can be read in several ways; all of them are returned.

Source: multi_print_status() of OpenVPN, and files of OpenVPN 2.6.14.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["CLIENTS", "NAME", "ROUTES", "USER", "Row", "TableLine", "read_tables"]

CLIENTS, ROUTES = "CLIENT_LIST", "ROUTING_TABLE"
NAME, USER = "Common Name", "Username"

MAX_LINE_BYTES = 16384
"""Enough for a line: in OpenVPN a name is shorter than 4096 bytes."""
MAX_COMMAS = 64
"""Most extra commas in a line with two names. Each of them adds one way to read the line."""

_FREE = frozenset({NAME, USER})  # columns whose text a client chooses
_TABLES = {CLIENTS.encode(): CLIENTS, ROUTES.encode(): ROUTES}
_TITLES = {b"OpenVPN CLIENT LIST": CLIENTS, b"ROUTING TABLE": ROUTES, b"GLOBAL STATS": ""}
_OTHERS = frozenset({b"TITLE", b"TIME", b"GLOBAL_STATS"})

Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line of a table.

    Attributes:
        number: line number, from 1.
        table: `CLIENTS` or `ROUTES`.
        ways: the ways to read it, each as text by column; empty: there are too many. Bytes that are
            not UTF-8 become lone surrogates (PEP 383).
    """

    number: int
    table: str
    ways: tuple[Row, ...]


def read_tables(status: bytes) -> Iterator[TableLine]:
    """Read the tables of a status.

    Args:
        status: the whole text, from its title to END; lines end with LF or CRLF.

    Returns:
        The lines of both tables.

    Raises:
        ValueError: the text is not a server's status, or is incomplete. Some errors are raised only
            while the caller takes the lines.

    Thread safety: any thread.
    """
    *lines, rest = (line.removesuffix(b"\r") for line in status.split(b"\n"))
    if rest or lines[-1:] != [b"END"] or b"END" in lines[:-1]:
        raise ValueError("the status is incomplete")
    del lines[-1]
    title = lines[0] if lines else b""
    if title == b"OpenVPN CLIENT LIST":
        return _with_titles(lines)
    if title.startswith((b"TITLE,", b"TITLE\t")):
        return _with_kinds(lines, title[5:6])
    if title == b"OpenVPN STATISTICS":
        raise ValueError(
            "the status of an OpenVPN client does not name the other end; "
            "use its management interface"
        )
    raise ValueError("line 1: expected the title of an OpenVPN status")


def _with_kinds(lines: list[bytes], separator: bytes) -> Iterator[TableLine]:
    """Versions 2 and 3: each line begins with its kind, and a header comes before each table."""
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
            raise ValueError(f"line {number}: unknown kind of line, or no header before it")


def _with_titles(lines: list[bytes]) -> Iterator[TableLine]:
    """Version 1: each table has a title and a header; its other lines do not name the table."""
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
    """Return all ways to read a line."""
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
    """Return the row in which column `i` contains `share[i]` commas."""
    row, at = {}, 0
    for column, name in enumerate(names):
        end = at + 1 + share.get(column, 0)
        row[name] = _text(b",".join(fields[at:end]))
        at = end
    return row


def _text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
