"""OpenVPN's management interface: read state and status in one short conversation.

The interface talks to one client at a time; others wait. So netlog disconnects as soon as it can,
to let other users of the interface in.

Source: doc/management-notes.txt of OpenVPN, and the answers of OpenVPN 2.6.14.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ManagementAnswer", "ask"]

MAX_ANSWER_BYTES = 16 << 20
"""Enough for 50 000 clients with a route each."""
PIECE_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 16
MAX_PASSWORD_BYTES = 4096
"""OpenVPN accepts at most 4095."""

PROMPT = b"ENTER PASSWORD:"
END = b"END"


@dataclass(frozen=True, slots=True)
class ManagementAnswer:
    """A daemon's answers.

    Attributes:
        state: the line that `state` gave.
        status: the text that `status 3` gave, END included.
    """

    state: bytes
    status: bytes


def ask(
    family: int, address: tuple[str, int] | str, password_file: str | None, timeout_s: float
) -> ManagementAnswer:
    """Ask for state and status.

    Args:
        family: of the address, a socket.AF_ constant.
        address: where the interface listens.
        password_file: file with the password in its first line; read only if the interface asks for
            a password.
        timeout_s: for the whole conversation, in seconds.

    Returns:
        Both answers.

    Raises:
        OSError: nothing listens there, the answer does not come in time, or the file cannot be
            read.
        ValueError: the answer is not valid, or the password is missing or wrong; the text contains
            neither the password nor the answer.

    Thread safety: any thread.
    """
    deadline_s = time.monotonic() + timeout_s
    with socket.socket(family, socket.SOCK_STREAM) as asked:
        asked.settimeout(timeout_s)
        try:
            asked.connect(address)
            return _converse(_Lines(asked, deadline_s), password_file)
        except TimeoutError:
            raise TimeoutError(
                errno.ETIMEDOUT,
                "no answer in time: the management interface talks to one client at a time, "
                "and another client may be connected",
            ) from None


@dataclass(slots=True)
class _Lines:
    """The lines received from a socket, until a deadline."""

    asked: socket.socket
    deadline_s: float
    n_bytes: int = 0
    rest: bytes = b""
    lines: list[bytes] = field(default_factory=list)

    def next(self) -> bytes:
        """Return the next line without its end. The prompt has no line end, and counts as one."""
        while not self.lines:
            if self.rest == PROMPT:
                self.rest = b""
                return PROMPT
            *lines, self.rest = (self.rest + self._receive()).split(b"\n")
            if len(self.rest) > MAX_LINE_BYTES:
                raise ValueError("a line is too long")
            self.lines = [line.removesuffix(b"\r") for line in reversed(lines)]
        return self.lines.pop()

    def answer(self) -> Iterator[bytes]:
        """Yield the lines of an answer, END included, without the daemon's asynchronous notices."""
        while True:
            line = self.next()
            if line.startswith(b"ERROR:"):
                raise ValueError(
                    "the daemon refused to answer: it is starting, or its mode has no clients"
                )
            if not line.startswith(b">"):
                yield line
            if line == END:
                return

    def send(self, text: bytes) -> None:
        """Send `text`."""
        self.asked.settimeout(self._left_s())
        self.asked.sendall(text)

    def _receive(self) -> bytes:
        self.asked.settimeout(self._left_s())
        piece = self.asked.recv(PIECE_BYTES)
        self.n_bytes += len(piece)
        if not piece:
            raise ValueError("the answer is incomplete")
        if self.n_bytes > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        return piece

    def _left_s(self) -> float:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _converse(lines: _Lines, password_file: str | None) -> ManagementAnswer:
    line = lines.next()
    if line == PROMPT:
        lines.send(_password(password_file) + b"\n")
        line = lines.next()
        if line == PROMPT or line.startswith(b"ERROR:"):
            raise ValueError("the password is wrong")
        line = lines.next()
    if not line.startswith(b">INFO:"):
        raise ValueError("expected OpenVPN's management interface")
    lines.send(b"state\nstatus 3\n")
    *states, _ = lines.answer()
    status = b"".join(line + b"\n" for line in lines.answer())
    return ManagementAnswer(states[-1] if states else b"", status)


def _password(path: str | None) -> bytes:
    if path is None:
        raise ValueError("the management interface asks for a password: set password_file")
    with Path(path).open("rb") as file:
        line = file.readline(MAX_PASSWORD_BYTES + 1).rstrip(b"\r\n")
    if not line or len(line) > MAX_PASSWORD_BYTES or b"\0" in line:
        raise ValueError(f"{os.fspath(path)}: expected a password in its first line")
    return line
