"""One request to an HTTP server on a unix socket, with limits on the answer's time and length."""

import http.client
import io
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["MAX_ANSWER_BYTES", "get"]

MAX_ANSWER_BYTES = 64 << 20
"""Enough for the status of 30 000 nodes, of two kilobytes each."""
PIECE_BYTES = 1 << 20


def get(path: Path, host: str, target: str, deadline_s: float) -> bytes:
    """Get a page.

    Args:
        path: the socket that the server listens on.
        host: the Host that the server expects.
        target: of the request, as in "/status".
        deadline_s: on the monotonic clock; the last byte must have arrived by then.

    Returns:
        The body.

    Raises:
        OSError: nothing listens there, or the answer does not come in time.
        ValueError: the answer is not valid, is an HTTP error, or is too long; the text contains
            nothing of its body.

    Thread safety: any thread.
    """
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        timed = _Timed(asked, deadline_s)
        timed.remaining()
        asked.connect(str(path))
        timed.remaining()
        asked.sendall(request.encode("ascii"))
        # HTTPResponse only calls the socket's makefile().
        with http.client.HTTPResponse(cast("socket.socket", timed), method="GET") as response:
            try:
                response.begin()
                if response.status != http.client.OK:
                    raise ValueError(f"{path}: {target}: HTTP status {response.status}")
                return _body(response, f"{path}: {target}")
            except http.client.HTTPException:
                # Not chained: the text of the cause may contain parts of the answer.
                raise ValueError(f"{path}: {target}: incomplete answer, or not HTTP") from None


def _body(response: http.client.HTTPResponse, name: str) -> bytes:
    pieces: list[bytes] = []
    n_bytes = 0
    while piece := _read(response):
        pieces.append(piece)
        n_bytes += len(piece)
        if n_bytes > MAX_ANSWER_BYTES:
            raise ValueError(f"{name}: the answer is too long")
    return b"".join(pieces)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(PIECE_BYTES)
    except ValueError:
        # http.client reads as many bytes as a chunk says that it has, also if they are negative.
        raise http.client.IncompleteRead(b"") from None


class _Timed(io.RawIOBase):
    """What a socket receives until the deadline, even if the server sends byte by byte."""

    def __init__(self, asked: socket.socket, deadline_s: float) -> None:
        self._asked = asked
        self._deadline_s = deadline_s

    def remaining(self) -> None:
        """Make the next call on the socket end at the deadline."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._asked.settimeout(left_s)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader, as a socket does."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Receive into `buffer`."""
        self.remaining()
        return self._asked.recv_into(buffer)
