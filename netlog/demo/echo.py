"""A server that sends back what it is sent, over TCP and UDP (RFC 862)."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["ECHO_PORT", "EchoServer"]

ECHO_PORT = 7
"""RFC 862; in a namespace of its own nobody else has it."""
READ_BYTES = 65536


class EchoServer:
    """Answers on any number of sockets, wherever their namespaces are, in a thread of its own.

    Args:
        sockets: bound ones, of TCP listening; the server closes them.

    Thread safety: one thread enters and leaves it.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        for each in (self._woken, *sockets):
            self._watch(each)
        self._thread = threading.Thread(target=self._run, name="netlog-demo-echo", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waker.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._forget(key.fileobj)  # type: ignore[arg-type] # only sockets were registered
        self._selector.close()

    def _watch(self, each: socket.socket) -> None:
        each.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._selector.register(each, selectors.EVENT_READ)

    def _forget(self, each: socket.socket) -> None:
        self._selector.unregister(each)
        each.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                if ready is self._woken:
                    return
                try:
                    self._answer(ready)  # type: ignore[arg-type] # as above
                except BlockingIOError:
                    continue  # a checksum was wrong, or a client does not read its answers
                except OSError:
                    self._drop(ready)  # type: ignore[arg-type] # as above

    def _answer(self, ready: socket.socket) -> None:
        if ready.type == socket.SOCK_DGRAM:
            data, address = ready.recvfrom(READ_BYTES)
            ready.sendto(data, address)
        elif ready.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._watch(ready.accept()[0])
        elif data := ready.recv(READ_BYTES):
            # A client has at most one request under way: its echo fits the buffer.
            ready.sendall(data)
        else:
            self._forget(ready)

    def _drop(self, broken: socket.socket) -> None:
        """Give up a connection that its client reset; datagram sockets have such errors to read."""
        if broken.type == socket.SOCK_STREAM:
            self._forget(broken)
