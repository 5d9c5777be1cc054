"""A server of another program, that answers whatever it is told to."""

import contextlib
import socket
import threading
from collections.abc import Callable

from fuzz.parsers.scratch import scratch_folder

__all__ = ["Answering"]

Answer = Callable[[bytes], bytes]
PIECE_BYTES = 1 << 16


class Answering:
    """Accepts one connection after the other, sends the answer and says that it was all.

    Args:
        family: socket.AF_UNIX or socket.AF_INET, on loopback.
        asked_first: whether to wait for a request before the answer.

    Attributes:
        answer: gets the first piece of the request, if it waits for it, and returns the answer.
        address: where it listens.
    """

    def __init__(self, family: int, *, asked_first: bool) -> None:
        self.answer: Answer = lambda _: b""
        self._asked_first = asked_first
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_UNIX:
            self.address = str(scratch_folder() / "socket")
            self._listener.bind(self.address)
        else:
            self._listener.bind(("127.0.0.1", 0))
            self.address = "http://127.0.0.1:{1}/".format(*self._listener.getsockname())
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            # A client that has heard enough may close at any time.
            with connected, contextlib.suppress(OSError):
                first = connected.recv(PIECE_BYTES) if self._asked_first else b""
                connected.sendall(self.answer(first))
                connected.shutdown(socket.SHUT_WR)
                while connected.recv(PIECE_BYTES):
                    pass
