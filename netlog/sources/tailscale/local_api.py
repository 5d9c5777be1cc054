"""An HTTP server on a unix socket, asked once: the whole answer within a time and a length."""

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
"""The status of 30 000 nodes, of two kilobytes each."""
PIECE_BYTES = 1 << 20


def get(path: Path, host: str, target: str, deadline_s: float) -> bytes:
    """Ask for a page.

    Args:
        path: where the server listens.
        host: the name that it wants to be called by.
        target: what is asked for, as in "/status".
        deadline_s: on the monotonic clock: the last byte must have come by then.

    Returns:
        The body.

    Raises:
        OSError: nobody listens, or the answer does not come in time.
        ValueError: what came is no answer, one of a failure, or too long; the text shows nothing of
            it.

    Thread safety: any thread.
    """
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        timed = _Timed(asked, deadline_s)
        timed.remaining()
        asked.connect(str(path))
        timed.remaining()
        asked.sendall(request.encode("ascii"))
        # It takes nothing of a socket but this file.
        with http.client.HTTPResponse(cast("socket.socket", timed), method="GET") as response:
            try:
                response.begin()
                if response.status != http.client.OK:
                    raise ValueError(f"{path}: {target}: HTTP status {response.status}")
                return _body(response, f"{path}: {target}")
            except http.client.HTTPException:
                # Not chained: the text of the cause may have what came.
                raise ValueError(f"{path}: {target}: no answer in HTTP, or half of one") from None


def _body(response: http.client.HTTPResponse, name: str) -> bytes:
    pieces: list[bytes] = []
    n_bytes = 0
    while piece := response.read(PIECE_BYTES):
        pieces.append(piece)
        n_bytes += len(piece)
        if n_bytes > MAX_ANSWER_BYTES:
            raise ValueError(f"{name}: the answer is too long")
    return b"".join(pieces)


class _Timed(io.RawIOBase):
    """What a socket receives until the deadline; a server that drips can not stretch it."""

    def __init__(self, asked: socket.socket, deadline_s: float) -> None:
        self._asked = asked
        self._deadline_s = deadline_s

    def remaining(self) -> None:
        """Have the next call on the socket end at the deadline."""
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._asked.settimeout(left_s)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Receive some."""
        self.remaining()
        return self._asked.recv_into(buffer)
