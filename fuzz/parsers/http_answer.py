"""A receiver that answers a batch with anything: an answer, or NotTaken."""

import contextlib
import socket
from collections.abc import Iterator

from fuzz.parsers.answering import Answering
from netlog.sinks.remote.transport import Transport
from netlog.sinks.shipper import NotTaken

SECRET = "a-secret-word"  # noqa: S105 - of this harness

_server = Answering(socket.AF_INET, asked_first=True)
_transport = Transport(_server.address, secrets=[SECRET])


def seeds() -> Iterator[bytes]:
    """What receivers say, whole and not."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield b"HTTP/1.1 503 Unavailable\r\nRetry-After: 3\r\nConnection: close\r\n\r\nlater"
    yield b"HTTP/1.1 429 Slow\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n"
    yield b"HTTP/1.1 401 No\r\nContent-Length: 20\r\n\r\nwho is " + SECRET.encode()
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No Content\r\n\r\n"
    yield b"HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Encoding: gzip\r\n\r\n\x1f"


def fuzz(data: bytes) -> None:
    """Be the receiver."""
    _server.answer = lambda _: data
    with contextlib.suppress(NotTaken):
        answer = _transport.post("/", b"{}", {})
        assert SECRET not in answer.text
        assert answer.text.isprintable()
        assert answer.retry_after_s is None or answer.retry_after_s >= 0
