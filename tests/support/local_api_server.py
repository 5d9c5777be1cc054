"""A LocalAPI as tailscaled has it, or not quite, in a process of its own.

    python local_api_server.py SOCKET FOLDER MODE

answers what the files of FOLDER hold, by the last part of the page, and appends to `asked` there
one line of JSON for each request: its line and its headers.
"""

import contextlib
import json
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

ENDLESS_BYTES = 1 << 16


class LocalApi:
    """One of them, from the side of the test."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "tailscaled.sock"
        self._folder = folder

    def says(self, page: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """What a page holds from now on: bytes as they are, else JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        path = self._folder / page
        path.with_suffix(".new").write_bytes(body)
        path.with_suffix(".new").rename(path)

    def asked(self) -> list[dict[str, Any]]:
        """The requests so far."""
        return [json.loads(line) for line in (self._folder / "asked").read_text().splitlines()]


@contextlib.contextmanager
def local_api(folder: Path, mode: str = "length", **pages: Any) -> Iterator[LocalApi]:  # noqa: ANN401 - JSON
    """Run one with these pages; `mode` is how it answers."""
    made = LocalApi(folder)
    for page, value in pages.items():
        made.says(page, value)
    command = (sys.executable, __file__, str(made.socket), str(folder), mode)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield made
        finally:
            process.kill()
    made.socket.unlink()


class Handler(BaseHTTPRequestHandler):
    """What tailscaled answers, in one of several ways."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    mode = ""

    def do_GET(self) -> None:
        """Send the page."""
        request = {"line": self.requestline, "headers": dict(self.headers)}
        with (self.folder / "asked").open("a") as asked:
            asked.write(json.dumps(request) + "\n")
        self.close_connection = True
        path = self.folder / Path(self.path).name
        if not self.path.startswith("/localapi/v0/") or not path.exists():
            self.send_error(404)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.WAYS[self.mode](self, path.read_bytes())

    def _head(self, *headers: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        for header in (("Content-Type", "application/json"), *headers):
            self.send_header(*header)
        self.end_headers()

    def _length(self, body: bytes) -> None:
        self._head(("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _chunked(self, body: bytes, end: bytes = b"0\r\n\r\n") -> None:
        self._head(("Transfer-Encoding", "chunked"))
        for at in range(0, len(body), 100):
            piece = body[at : at + 100]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(end)

    def _close(self, body: bytes) -> None:
        self._head()
        self.wfile.write(body)

    def _cut(self, body: bytes) -> None:
        self._head(("Content-Length", str(len(body))))
        self.wfile.write(body[:-10])

    def _cut_chunked(self, body: bytes) -> None:
        self._chunked(body, end=b"")

    def _negative(self, body: bytes) -> None:
        self._head(("Transfer-Encoding", "chunked"))
        self.wfile.write(b"-%x\r\n%s" % (len(body), body))

    def _hangs(self, body: bytes) -> None:
        self._head(("Content-Length", str(len(body))))
        self.wfile.write(body[:10])
        self.rfile.read(1)

    def _drips(self, body: bytes) -> None:
        """Never silent for long, and never done: a byte whenever the last one was taken."""
        self._head(("Content-Length", str(len(body) * 1000)))
        self._drip()

    def _drips_head(self, _body: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self._drip()

    def _drip(self) -> None:
        while not self.connection.send(b" ") or not self._asker_left():
            pass

    def _asker_left(self) -> bool:
        self.connection.settimeout(0.05)
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False

    def _endless(self, _body: bytes) -> None:
        self._head()
        while True:
            self.wfile.write(bytes(ENDLESS_BYTES))

    def _garbage(self, _body: bytes) -> None:
        self.wfile.write(b"\x00\xff secret 12345 is not HTTP\r\n\r\n")

    def _silent(self, _body: bytes) -> None:
        pass

    def _denied(self, body: bytes) -> None:
        self._head(("Content-Length", str(len(body))), status=403)
        self.wfile.write(body)

    def _moved(self, _body: bytes) -> None:
        self._head(("Location", "http://192.0.2.1/"), ("Content-Length", "0"), status=302)

    def _many_headers(self, body: bytes) -> None:
        self._head(*((f"X-{number}", "secret") for number in range(200)))
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    WAYS: dict[str, Callable[["Handler", bytes], None]] = {  # noqa: RUF012 - a table
        "length": _length,
        "chunked": _chunked,
        "close": _close,
        "cut": _cut,
        "cut_chunked": _cut_chunked,
        "negative": _negative,
        "hangs": _hangs,
        "drips": _drips,
        "drips_head": _drips_head,
        "endless": _endless,
        "garbage": _garbage,
        "silent": _silent,
        "denied": _denied,
        "moved": _moved,
        "many_headers": _many_headers,
    }


class Server(socketserver.ThreadingUnixStreamServer):
    """Listens."""

    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        """HTTP handlers want to show who asks."""
        request, _ = super().get_request()
        return request, ("unix", 0)


def main() -> None:
    """Answer until killed."""
    socket, Handler.folder, Handler.mode = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with Server(socket, Handler) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
