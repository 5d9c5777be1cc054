"""TCP transfers whose every segment the kernel has counted, for the tests."""

import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from namespace import Namespace, wait_for

PIECE_BYTES = 1 << 16
TIME_WAIT, LISTEN = 6, 10
SEGMENTS = struct.Struct("=136x2I56xQ")
"""Where `struct tcp_info` has tcpi_segs_out, tcpi_segs_in and tcpi_bytes_sent: linux/tcp.h."""


@dataclass(frozen=True)
class Transferred:
    """A connection that has ended, as the kernel of the end that opened it counted it.

    Segments are those on the wire: a super-packet counts as what it stands for.
    """

    port: int
    segments_sent: int
    segments_received: int
    bytes_sent: int


def transfer(
    client: Namespace, server: Namespace, address: str, n_bytes: int, port: int = 6000
) -> Transferred:
    """Send so many bytes from client to server, and have as many come back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with server.entered():
        listener = socket.create_server((address, port), family=family)
    with listener:
        with client.entered():
            sender = socket.create_connection((address, port), timeout=60)
        receiver, _ = listener.accept()
    receiver.settimeout(60)
    answering = threading.Thread(target=_answer, args=(receiver, n_bytes))
    answering.start()
    with sender:
        for _ in range(n_bytes // PIECE_BYTES):
            sender.sendall(bytes(PIECE_BYTES))
        sender.shutdown(socket.SHUT_WR)
        left = n_bytes
        while data := sender.recv(PIECE_BYTES):
            left -= len(data)
        assert not left
        own_port = sender.getsockname()[1]
        # All has come, the other's FIN too, and the last word was ours.
        said = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS.size)
    answering.join(60)
    wait_for(lambda: not _open(server, port), "both ends know")
    return Transferred(own_port, *SEGMENTS.unpack(said))


def _answer(receiver: socket.socket, n_bytes: int) -> None:
    with receiver:
        left = n_bytes
        while data := receiver.recv(PIECE_BYTES):
            left -= len(data)
        assert not left
        for _ in range(n_bytes // PIECE_BYTES):
            receiver.sendall(bytes(PIECE_BYTES))


def _open(namespace: Namespace, port: int) -> bool:
    """Whether a connection of a port of the namespace still waits for something."""
    with namespace.entered():
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path("/proc/thread-self/net", name).read_text().splitlines()[1:]
        ]
    return any(
        int(words[1].rpartition(":")[2], 16) == port
        and int(words[3], 16) not in {TIME_WAIT, LISTEN}
        for words in lines
    )
