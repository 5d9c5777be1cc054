"""Hold on to a connection from outside urllib3, to end any wait on it."""

import contextlib
import socket
import ssl
import threading
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from netlog.sinks.remote.whole_response import WholeResponse

__all__ = ["Lifeline", "connection_class"]


class Lifeline:
    """A second descriptor of a pool's only connection.

    A socket's timeout applies to each read, so an answer that arrives byte by byte never ends by
    it. Also, urllib3 gives no access to the connection itself under TLS, or while the rest of an
    answer is read. Shutting down a second descriptor of the socket works in both cases.

    Attributes:
        cut: whether `cut_now` was called since `begin`.
        used: whether an answer has been read from the connection before.

    Thread safety: any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._busy = False
        self._closed = False
        self.cut = False
        self.used = False

    def begin(self) -> None:
        """A request begins."""
        with self._lock:
            self._busy, self.cut = True, False

    def end(self) -> None:
        """The answer was read, or the request failed."""
        with self._lock:
            self._busy = False
            self.used = True
            if self._closed:
                self._drop()

    def tie(self, connected: socket.socket) -> None:
        """Hold on to a new connection."""
        with self._lock:
            self._drop()
            self._socket = connected.dup()

    def untie(self) -> None:
        """urllib3 closed the connection. The rest of an answer may still be read from it."""
        with self._lock:
            self._closed = True
            if not self._busy:
                self._drop()

    def cut_now(self) -> None:
        """Shut down the connection."""
        with self._lock:
            self.cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # The other side may have ended it already.
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._closed, self.used = None, False, False


def connection_class(scheme: str, lifeline: Lifeline) -> Any:  # noqa: ANN401 - a class of urllib3
    """Return a class of connections that tie themselves to the lifeline.

    They take only responses that came whole.
    """
    base: Any = HTTPSConnection if scheme == "https" else HTTPConnection

    class Connection(base):  # type: ignore[misc]
        response_class = WholeResponse

        def connect(self) -> None:
            super().connect()
            if isinstance(self.sock, ssl.SSLSocket):
                # Without this, a connection that is cut looks like the end of a body.
                self.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]

        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            lifeline.tie(connected)
            return connected

        def close(self) -> None:
            super().close()
            lifeline.untie()

    return Connection
