"""A transfer through a tunnel that can stop in the middle, for the tests."""

import socket
import threading
from pathlib import Path

from namespace import Namespace, wait_for

PIECE_BYTES = 1 << 16


def tcp_sockets(namespace: Namespace) -> int:
    """How many TCP sockets there are in a namespace, of whatever state."""
    with namespace.entered():
        return len(Path("/proc/thread-self/net/tcp").read_text().splitlines()) - 1


class Transfer:
    """A TCP connection through the tunnel, in pieces that are answered each.

    Args:
        one: who sends.
        two: who receives, at the address `overlay`.
    """

    def __init__(self, one: Namespace, two: Namespace, overlay: str) -> None:
        with two.entered():
            listener = socket.create_server((overlay, 6000))
        with listener:
            with one.entered():
                self._sender = socket.create_connection((overlay, 6000), timeout=20)
            self._receiver, _ = listener.accept()
        self._two = two
        self._receiver.settimeout(20)
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        """Take everything, and say so after each piece."""
        left = PIECE_BYTES
        while data := self._receiver.recv(left):
            left -= len(data)
            if not left:
                self._receiver.sendall(b".")
                left = PIECE_BYTES

    def move(self, pieces: int) -> None:
        """Have so many pieces arrive."""
        for _ in range(pieces):
            self._sender.sendall(bytes(PIECE_BYTES))
        got = 0
        while got < pieces:
            got += len(self._sender.recv(pieces - got))

    def close(self) -> None:
        """End it, and wait until the last packet of it has arrived."""
        self._sender.close()
        self._thread.join(20)
        self._receiver.close()
        # The end that closed first sends the last packet, which frees the other's socket.
        wait_for(lambda: not tcp_sockets(self._two), "both ends know")
