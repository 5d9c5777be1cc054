"""An OpenVPN daemon, read over its management interface or from the status file that it writes."""

import os
import socket
import stat
import time
from pathlib import Path

from netlog.model.addresses import split_place
from netlog.sources.base import Overlay
from netlog.sources.openvpn.management import ask
from netlog.sources.openvpn.overlay import (
    SharedNames,
    State,
    client_overlay,
    overlay_of,
    parse_state,
)
from netlog.sources.openvpn.status import Status, parse_status

__all__ = ["OpenVpnSource"]

TIMEOUT_S = 0.5
"""For the whole answer, because messages wait for it."""
SETTLED_S = 0.05
"""OpenVPN overwrites the last status file in place, line by line. A file that was written more
recently than this may be half old and half new."""
MAX_FILE_BYTES = 16 << 20

_CLIENT_STATUS = b"OpenVPN STATISTICS\n"


class OpenVpnSource:
    """The clients of an OpenVPN server, with their names; for an OpenVPN client, its own addresses.

    The source connects to the management interface for each answer and disconnects, because the
    interface talks to one client at a time: others can use it in between. With
    `--management-signal` or `--management-forget-disconnect` the daemon acts when a client
    disconnects: for such a daemon use the status file.

    A client's `state` has the endpoint of its server but not the server's overlay address. So the
    server is a peer only if the tunnel is point-to-point: then the kernel knows that address.

    Args:
        at: the management interface, as `host:port` or the path of its unix socket; or the path of
            a status file, of any `--status-version`. Each time netlog looks whether a path is a
            socket or a file. `host` is an address or "localhost": names are not resolved.
        password_file: file with the password of the management interface in its first line; read
            when the interface asks for it.

    Attributes:
        tcp: address and port of the management interface, if it is TCP. The daemon's socket with
            this address does not belong to the tunnel.

    Raises:
        ValueError: `at` is neither `host:port` nor a path.

    Thread safety: one thread at a time.
    """

    def __init__(self, at: str, password_file: str | None = None) -> None:
        self.tcp = split_place(at)
        self._at = at
        self._password_file = password_file
        self._shared = SharedNames()
        self._last = Overlay()
        self._made = Overlay()
        self._told: tuple[Status, State] | None = None  # what `_made` was made from

    def snapshot(self) -> Overlay:
        """Return the present state; the same object as long as nothing has changed.

        Raises:
            OSError: nothing listens there, the file does not exist, or the answer takes longer than
                0.5 s.
            ValueError: the answer is not valid or incomplete; the text contains nothing of it.
        """
        try:
            now = self._look()
        except ValueError as error:
            raise ValueError(f"{self._at}: {error}") from None
        if now != self._last:
            self._last = now
        return self._last

    def _look(self) -> Overlay:
        if self.tcp is not None:
            family = socket.AF_INET6 if ":" in self.tcp[0] else socket.AF_INET
            return self._ask(family, self.tcp)
        if stat.S_ISSOCK(Path(self._at).stat().st_mode):
            return self._ask(socket.AF_UNIX, self._at)
        return self._overlay(parse_status(_read_settled(self._at)), State())

    def _ask(self, family: int, address: tuple[str, int] | str) -> Overlay:
        answer = ask(family, address, self._password_file, TIMEOUT_S)
        state = parse_state(answer.state)
        if answer.status.startswith(_CLIENT_STATUS):
            return client_overlay(state)
        return self._overlay(parse_status(answer.status), state)

    def _overlay(self, status: Status, state: State) -> Overlay:
        """Return a server's overlay. Building takes long: unchanged input reuses the last one."""
        if (status, state) != self._told:
            self._made = overlay_of(status, state, self._shared)
            self._told = status, state
        return self._made


def _read_settled(path: str) -> bytes:
    """Read a status file once it was not written to for a moment, or after a while in any case."""
    deadline_s = time.monotonic() + TIMEOUT_S / 2
    # The path may be a pipe by now: with O_NONBLOCK, open() does not wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - by its descriptor
        while True:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ValueError("expected a socket or a status file")
            age_s = time.time() - before.st_mtime
            late = time.monotonic() > deadline_s
            # A negative age means that the clock was set back: do not wait for it to catch up.
            if 0 <= age_s < SETTLED_S and not late:
                time.sleep(SETTLED_S - age_s)
                continue
            file.seek(0)
            status = file.read(MAX_FILE_BYTES + 1)
            if len(status) > MAX_FILE_BYTES:
                raise ValueError("the status is too long")
            if late or os.fstat(descriptor).st_mtime_ns == before.st_mtime_ns:
                return status
