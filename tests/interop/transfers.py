"""TCP transfers whose every segment the kernel has counted, for the tests."""

import socket
import struct
import threading
from dataclasses import dataclass

from tests.support.namespace import Namespace, wait_for

PIECE_BYTES = 1 << 16
WINDOW_BYTES = 1 << 18
"""Below what any queue on the way has room for: nothing is lost."""
SEGMENTS = struct.Struct("=24xI108xI")
"""Where `struct tcp_info` of linux/tcp.h has tcpi_unacked and tcpi_segs_out."""


@dataclass(frozen=True)
class Counted:
    """A connection as the kernel counted it.

    Attributes:
        port: of the client.
        up, down: segments that the client sent, and the server; a super-packet counts as those that
            it stands for.
    """

    port: int
    up: int
    down: int


class Transfer:
    """A connection over which bytes went there and back; open, and at rest.

    It is not closed while it is metered: some of a connection's last segments come from no socket.
    """

    def __init__(self, client: Namespace, server: Namespace, address: str, port: int) -> None:
        with _socket(server) as listener:
            listener.bind((address, port))
            listener.listen()
            self._sender = _socket(client)
            self._sender.connect((address, port))
            self._receiver, _ = listener.accept()
        self._receiver.settimeout(60)

    def move(self, n_bytes: int) -> None:
        """Send so many bytes from client to server, and have as many come back."""
        answering = threading.Thread(target=_answer, args=(self._receiver, n_bytes))
        answering.start()
        _send(self._sender, n_bytes)
        _receive(self._sender, n_bytes)
        answering.join(60)
        wait_for(lambda: not self._unacknowledged(), "all is acknowledged")

    def end(self) -> Counted:
        """Close both ends, and say what the kernel counted until now."""
        with self._sender, self._receiver:
            # The first segment of the server comes from no socket yet.
            down = _said(self._receiver)[1] + 1
            return Counted(self._sender.getsockname()[1], _said(self._sender)[1], down)

    def _unacknowledged(self) -> int:
        return _said(self._sender)[0] + _said(self._receiver)[0]


def _socket(namespace: Namespace) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    made.settimeout(60)
    return made


def _answer(receiver: socket.socket, n_bytes: int) -> None:
    _receive(receiver, n_bytes)
    _send(receiver, n_bytes)


def _send(sender: socket.socket, n_bytes: int) -> None:
    for _ in range(n_bytes // PIECE_BYTES):
        sender.sendall(bytes(PIECE_BYTES))


def _receive(receiver: socket.socket, n_bytes: int) -> None:
    left = n_bytes
    while left:
        data = receiver.recv(PIECE_BYTES)
        assert data
        left -= len(data)


def _said(asked: socket.socket) -> tuple[int, int]:
    unacknowledged, segments = SEGMENTS.unpack(
        asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS.size)
    )
    return unacknowledged, segments
