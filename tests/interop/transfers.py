"""TCP transfers whose every segment the kernel has counted, for the tests."""

import socket
import struct
import threading
from dataclasses import dataclass

from namespace import Namespace, wait_for

PIECE_BYTES = 1 << 16
WINDOW_BYTES = 1 << 18
"""Below what any queue on the way has room for: nothing is lost."""
CLOSED = 7
SEGMENTS = struct.Struct("=B135xI")
"""Where `struct tcp_info` of linux/tcp.h has tcpi_state and tcpi_segs_out."""


@dataclass(frozen=True)
class Transferred:
    """A connection that has ended, as the kernel counted it.

    Attributes:
        port: of the client.
        up, down: segments that the client sent, and the server; a super-packet counts as those that
            it stands for.
    """

    port: int
    up: int
    down: int


def transfer(
    client: Namespace, server: Namespace, address: str, n_bytes: int, port: int = 6000
) -> Transferred:
    """Send so many bytes from client to server, and have as many come back."""
    listener = _socket(server)
    with listener:
        listener.bind((address, port))
        listener.listen()
        sender = _socket(client)
        sender.connect((address, port))
        receiver, _ = listener.accept()
    with sender, receiver:
        receiver.settimeout(60)
        own_port = sender.getsockname()[1]
        answering = threading.Thread(target=_answer, args=(receiver, n_bytes))
        answering.start()
        _send(sender, n_bytes)
        _receive(sender, n_bytes)
        answering.join(60)
        # The last word is the client's: the server has heard it.
        wait_for(lambda: _said(receiver)[0] == CLOSED, "both ends know")
        # The first word of the server comes from no socket yet.
        return Transferred(own_port, _said(sender)[1], _said(receiver)[1] + 1)


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
    sender.shutdown(socket.SHUT_WR)


def _receive(receiver: socket.socket, n_bytes: int) -> None:
    left = n_bytes
    while data := receiver.recv(PIECE_BYTES):
        left -= len(data)
    assert not left


def _said(asked: socket.socket) -> tuple[int, int]:
    state, segments = SEGMENTS.unpack(
        asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS.size)
    )
    return state, segments
