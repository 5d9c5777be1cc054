"""A transfer through a tunnel that can stop in the middle, for the tests."""

import socket
import threading
from pathlib import Path

from tests.support.namespace import Namespace, wait_for

PIECE_BYTES = 1 << 16
PORT = 6000


def sockets(namespace: Namespace) -> int:
    """How many TCP sockets a namespace has at the port of transfers, of whatever state."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{PORT:04X}") for line in lines)


class Transfer:
    """A TCP connection through the tunnel, in pieces that are answered each.

    Args:
        one: who sends.
        two: who receives, at the address `overlay`.
    """

    def __init__(self, one: Namespace, two: Namespace, overlay: str) -> None:
        with two.entered():
            listener = socket.create_server((overlay, PORT))
        with listener:
            with one.entered():
                self._sender = socket.create_connection((overlay, PORT), timeout=20)
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
        wait_for(lambda: not sockets(self._two), "both ends know")
