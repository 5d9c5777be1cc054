"""A response counts only if it came whole: http.client takes one that was cut for a complete one.

Source: RFC 9112 sections 2.2, 5, 6.3 and 8; RFC 9110 sections 5.5 and 15.2.
"""

import http.client
import re
from typing import IO, Any

__all__ = ["CutResponse", "InvalidResponse", "WholeResponse"]

_FIELD = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\x00\r\n]*\r?\n")
_FOLDED = re.compile(rb"[ \t][^\x00\r\n]*\r?\n")
"""The continuation of a header: deprecated, but still met."""
_BLANK = (b"\r\n", b"\n")
INTERIM = range(102, 200)
"""Status codes before the response itself. http.client passes over 100; 101 is the last one."""


class CutResponse(http.client.HTTPException):
    """The connection ended within the response."""


class InvalidResponse(http.client.HTTPException):
    """What came is not a response in HTTP, so that nobody can tell where it ends."""


class WholeResponse(http.client.HTTPResponse):
    """A response of http.client that raises unless its headers came whole and can be read.

    Raises:
        CutResponse: the connection ended within the status line, the headers, the size of a chunk
            or the trailer. http.client itself raises for the rest of a body.
        InvalidResponse: a header is not one, or the length of the body is contradictory.

    Thread safety: one thread.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as http.client's
        super().__init__(*args, **options)
        self._lines = _WholeLines(self.fp)
        self.fp: Any = self._lines

    def begin(self) -> None:
        """Read the status line and the headers; pass over interim responses."""
        super().begin()
        while self.status in INTERIM:
            self._lines.kept.clear()
            self.headers: Any = None  # So that `begin` reads again.
            super().begin()
        _check_headers(self._lines.kept)
        self._check_length()
        self._lines.keep = False
        # The parser of e-mail also looks for a body of several parts. There is none in here, and
        # urllib3 logs what it misses as an error, with a traceback.
        self.headers.defects.clear()

    def _check_length(self) -> None:
        """Raise unless the headers say in one way where the body ends."""
        codings = self.headers.get_all("Transfer-Encoding", [])
        if [coding.strip().lower() for coding in codings] not in ([], ["chunked"]):
            raise InvalidResponse
        lengths = {
            length.strip()
            for value in self.headers.get_all("Content-Length", [])
            for length in value.split(",")
        }
        if len(lengths) > 1 or not all(re.fullmatch(r"[0-9]{1,18}", each) for each in lengths):
            raise InvalidResponse
        if self.length is None and lengths and not self.chunked:
            self.length: Any = int(lengths.pop())  # The same length several times.


def _check_headers(lines: list[bytes]) -> None:
    """Raise unless every line between the status line and the blank line is a header."""
    last = max((i + 1 for i, line in enumerate(lines[:-1]) if line in _BLANK), default=0)
    for i, line in enumerate(lines[last + 1 : -1]):
        if not _FIELD.fullmatch(line) and not (i and _FOLDED.fullmatch(line)):
            raise InvalidResponse


class _WholeLines:
    """The bytes of a response, in which a line without an end is an error.

    Attributes:
        kept: the lines that were read while `keep` was set.
        keep: whether to keep lines: those of the headers, which http.client limits.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.kept: list[bytes] = []
        self.keep = True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    def readline(self, limit: int) -> bytes:
        """Read a line. http.client refuses one that reaches the limit."""
        line = self._stream.readline(limit)
        nothing_came = not line and not self.kept  # http.client has an error for it.
        if not line.endswith(b"\n") and len(line) < limit and not nothing_came:
            raise CutResponse
        if self.keep:
            self.kept.append(line)
        return line

    def read(self, amount: int) -> bytes:
        """Read at most `amount` bytes. http.client believes a chunk with a negative size."""
        if amount < 0:
            raise InvalidResponse
        return self._stream.read(amount)
