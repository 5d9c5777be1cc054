"""An HTTP receiver in its own process, which does to each request what it was told.

As a program: `receiver.py JOURNAL [CERTIFICATE KEY]` prints its port; standard input has the script
as one line of JSON, and then a line each time that it is to come back after it was `gone`. Each
request is a line of the journal before it is answered. A connection more is a thread more.

What can be told: `{"status": 200, "headers": {}, "body": ""}` answers so; `hang` never answers;
`garbage` is no HTTP; `reset` is a reset in the middle of the request's body, `reset-after` one when
all of it was read; `half` ends within the answer; `negative` has a chunk of -2 bytes; `drip` sends
a byte now and then, for ever; `close` answers 200 and closes the connection without a word of it;
`gone` closes the port; `{"raw": ""}` sends just that and closes the connection, with
`"reset": true` by a reset.
Without a script it answers 200.
"""

import base64
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER so that close() sends a reset."""

RAW = {
    "close": {"raw": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
    "garbage": {"raw": "\0\xff what is this\r\n\r\n"},
    "half": {"raw": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"},
    "negative": {"raw": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}"},
}


class Server:
    """Answers by script."""

    def __init__(self, journal: str, tls: ssl.SSLContext | None) -> None:
        self.journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.tls = tls
        self.lock = threading.Lock()
        self.script: list[Any] = json.loads(sys.stdin.readline())
        self.back = threading.Event()
        self.port = 0
        self.listener = self.listen()

    def listen(self) -> socket.socket:
        """Open the port, the same one again."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        return listener

    def run(self) -> None:
        """Accept until standard input ends."""
        threading.Thread(target=self.watch, daemon=True).start()
        os.write(1, b"%d\n" % self.port)
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                self.back.wait()
                self.back.clear()
                self.listener = self.listen()
                continue
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def watch(self) -> None:
        """Come back when told to; end with the parent."""
        for _ in sys.stdin:
            self.back.set()
        os._exit(0)

    def serve(self, connection: socket.socket) -> None:
        """Take requests from a connection until it ends."""
        with contextlib.suppress(OSError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while self.one(connection, stream):
                    pass

    def one(self, connection: socket.socket, stream: IO[bytes]) -> bool:
        """Take one request; returns whether another can come."""
        line = stream.readline()
        if not line:
            return False
        method, target, _ = line.decode().split()
        headers = []
        while (header := stream.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers.append((name.lower(), value.strip()))
        length = int(dict(headers)["content-length"])
        with self.lock:
            act = self.script.pop(0) if self.script else {"status": 200}
        body = stream.read(length // 2 if act == "reset" else length)
        entry = {
            "act": act,
            "method": method,
            "target": target,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            "peer": connection.getpeername()[1],
        }
        os.write(self.journal, json.dumps(entry).encode() + b"\n")
        return self.answer(connection, act)

    def answer(self, connection: socket.socket, act: Any) -> bool:  # noqa: ANN401 - as JSON has it
        """Do what the script says."""
        match RAW.get(act, act) if isinstance(act, str) else act:
            case {"status": status}:
                body = act.get("body", "").encode()
                lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in act.get("headers", {}).items()]
                connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
                return True
            case {"raw": text}:
                connection.sendall(text.encode("latin-1"))
                if act.get("reset"):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case "hang":
                connection.recv(1)
            case "drip":
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    connection.sendall(b"x")
                    threading.Event().wait(0.02)
            case "reset" | "reset-after":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case "gone":
                self.listener.shutdown(socket.SHUT_RDWR)
                self.listener.close()
        return False


@dataclass(slots=True)
class Receiver:
    """The process, seen from a test."""

    process: subprocess.Popen[str]
    port: int
    journal: Path

    def come_back(self) -> None:
        """Open the port again."""
        assert self.process.stdin is not None
        self.process.stdin.write("back\n")
        self.process.stdin.flush()

    def requests(self) -> list[dict[str, Any]]:
        """What came, with `body` as bytes."""
        # A line that is being written is not there yet.
        found = [json.loads(line) for line in self.journal.read_bytes().split(b"\n")[:-1]]
        for request in found:
            request["body"] = base64.b64decode(request["body"])
        return found


@contextlib.contextmanager
def receiver(
    directory: Path,
    *script: object,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[Receiver]:
    """A receiver that runs until the block ends."""
    journal = directory / "journal"
    journal.touch()
    command = [sys.executable, __file__, str(journal), *map(str, tls or ())]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(script) + "\n")
            process.stdin.flush()
            yield Receiver(process, int(process.stdout.readline()), journal)
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
    Server(sys.argv[1], context).run()
