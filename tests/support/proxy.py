"""An HTTP proxy in its own process: tunnels (CONNECT), and forwards requests for absolute URLs.

As a program: `proxy.py JOURNAL` prints its port; standard input has its orders as one line of JSON:
`{"hosts": {"logs.example:443": 1234}, "user": "", "script": []}`. `hosts` is its name service: a
port on loopback for each host and port that it leads to; others get 502. `user` is the user and
password that it asks for. An entry of `script`, one for each request, is `"die"`: it reads the
request and closes the connection; `"cut"`: it closes it after it was connected on both sides; a
string: it answers with just that; null: it does its work. Each request is a line of the journal.
"""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Serves connections, each by two threads."""

    def __init__(self, journal: str) -> None:
        self.journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        orders = json.loads(sys.stdin.readline())
        self.hosts: dict[str, int] = orders["hosts"]
        self.user: str = orders["user"]
        self.script: list[str | None] = orders["script"]
        self.lock = threading.Lock()

    def run(self) -> None:
        """Accept until standard input ends."""
        listener = socket.create_server(("127.0.0.1", 0))
        os.write(1, b"%d\n" % listener.getsockname()[1])
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        sys.stdin.read()
        os._exit(0)

    def accept(self, listener: socket.socket) -> None:
        """Serve every connection in a thread of its own."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Take one request, and connect the two sides from then on."""
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536) or b"\r\n\r\n"
            head, _, rest = head.partition(b"\r\n\r\n")
            line, *lines = head.decode().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (h.partition(":") for h in lines)
            }
            while len(rest) < int(headers.get("content-length", 0)):
                rest += client.recv(65536) or bytes(1 << 20)
            with self.lock:
                act = self.script.pop(0) if self.script else None
            entry = {"line": line, "headers": headers}
            os.write(self.journal, json.dumps(entry).encode() + b"\n")
            if act not in (None, "cut"):
                client.sendall(b"" if act == "die" else str(act).encode())
                return
            wanted = "Basic " + base64.b64encode(self.user.encode()).decode()
            if self.user and headers.get("proxy-authorization") != wanted:
                body = f"no {headers.get('proxy-authorization')}"
                answer = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\n"
                client.sendall(f"{answer}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                return
            self.pass_on(client, line, lines, rest, cut=act == "cut")

    def pass_on(
        self, client: socket.socket, line: str, lines: list[str], rest: bytes, *, cut: bool
    ) -> None:
        """Connect to the host of a request, and move bytes both ways."""
        method, target, version = line.split()
        place = target if method == "CONNECT" else target.split("/")[2]
        if place not in self.hosts:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.hosts[place])) as server:
            if method == "CONNECT":
                client.sendall(ESTABLISHED)
            else:
                path = "/" + target.split("/", 3)[3]
                kept = [each for each in lines if not each.lower().startswith("proxy-")]
                head = "\r\n".join(
                    [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
                )
                server.sendall(head.encode() + rest)
            if cut:
                return
            other = threading.Thread(target=move, args=(client, server), daemon=True)
            other.start()
            move(server, client)


def move(source: socket.socket, destination: socket.socket) -> None:
    """Move bytes until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
        destination.shutdown(socket.SHUT_WR)


@dataclass(slots=True)
class RunningProxy:
    """The process, seen from a test."""

    port: int
    journal: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[dict[str, Any]]:
        """The request lines and headers that came."""
        return [json.loads(line) for line in self.journal.read_bytes().split(b"\n")[:-1]]


@contextlib.contextmanager
def proxy(
    directory: Path, hosts: dict[str, int], user: str = "", script: Sequence[str | None] = ()
) -> Iterator[RunningProxy]:
    """A proxy that runs until the block ends."""
    journal = directory / "proxy-journal"
    journal.touch()
    process = subprocess.Popen(
        [sys.executable, __file__, str(journal)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            orders = {"hosts": hosts, "user": user, "script": list(script)}
            process.stdin.write(json.dumps(orders) + "\n")
            process.stdin.flush()
            yield RunningProxy(int(process.stdout.readline()), journal)
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    Proxy(sys.argv[1]).run()
