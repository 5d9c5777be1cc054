"""A WireGuard interface, read over its UAPI socket (wireguard-go, boringtun) or from the kernel.

Source: https://www.wireguard.com/xplatform/
"""

import errno
import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from netlog.model.addresses import join_endpoint, split_endpoint
from netlog.sources.base import Overlay
from netlog.sources.wireguard.kernel import ask_kernel
from netlog.sources.wireguard.peers import KEY_BYTES, Told, overlay_of

__all__ = ["SOCKET_FOLDER", "WireGuardSource", "parse_peers"]

SOCKET_FOLDER = Path("/var/run/wireguard")
TIMEOUT_S = 0.5
"""For the whole answer, because messages wait for it."""
MAX_ANSWER_BYTES = 16 << 20
"""Enough for 40 000 peers with a few prefixes each."""
MAX_LINE_BYTES = 4096
PIECE_BYTES = 1 << 16
NS_PER_S = 1_000_000_000


NO_NAMES: Mapping[str, str] = MappingProxyType({})
NOT_THERE = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
"""The kernel's errors if it has no WireGuard, no such interface, or the interface is of another
kind."""


class WireGuardSource:
    """The peers of a WireGuard interface: key, endpoint and allowed IPs of each.

    If the interface has a UAPI socket, netlog asks over that; otherwise over netlink, which needs
    CAP_NET_ADMIN. A peer without an endpoint yet adds only routes and nodes. netlog keeps nothing
    else of an answer, which also contains the interface's private key.

    Args:
        interface: its name.
        names: names of peers, by public key in base64.
        folder: the directory of the UAPI sockets.

    Thread safety: one thread at a time, in the network namespace of the interface.
    """

    def __init__(
        self,
        interface: str,
        names: Mapping[str, str] = NO_NAMES,
        folder: Path = SOCKET_FOLDER,
    ) -> None:
        self._interface = interface
        self._names = dict(names)
        self._path = folder / f"{interface}.sock"
        self._told: list[Told] = []
        self._last = overlay_of(self._told, self._names)

    def snapshot(self) -> Overlay:
        """Return the present state; the same object as long as nothing has changed.

        Raises:
            OSError: the interface does not exist, nothing listens on its socket, a privilege is
                missing, or the answer does not come within 0.5 s.
            ValueError: the answer is not valid; the text contains nothing of it.
        """
        told = parse_peers(self._ask()) if self._path.exists() else self._over_netlink()
        if told != self._told:
            self._told = told
            overlay = overlay_of(told, self._names)
            # A handshake alone, every two minutes, changes nothing that is asked for.
            if overlay != self._last:
                self._last = overlay
        return self._last

    def _over_netlink(self) -> list[Told]:
        try:
            return ask_kernel(self._interface, TIMEOUT_S)
        except OSError as error:
            if error.errno in NOT_THERE:
                raise FileNotFoundError(
                    errno.ENOENT,
                    f"{self._path} does not exist, and the kernel has no such WireGuard interface",
                    self._interface,
                ) from error
            raise

    def _ask(self) -> bytes:
        deadline_s = time.monotonic() + TIMEOUT_S
        pieces: list[bytes] = []
        n_bytes = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(TIMEOUT_S)
            asked.connect(str(self._path))
            asked.sendall(b"get=1\n\n")
            tail = b""
            while not tail.endswith(b"\n\n"):
                asked.settimeout(max(deadline_s - time.monotonic(), 0.001))
                piece = asked.recv(PIECE_BYTES)
                if not piece:
                    raise ValueError(f"{self._path}: the answer is incomplete")
                n_bytes += len(piece)
                if n_bytes > MAX_ANSWER_BYTES:
                    raise ValueError(f"{self._path}: the answer is too long")
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{self._path}: the answer takes too long")
                pieces.append(piece)
                tail = (tail + piece)[-2:]
        return b"".join(pieces)


def parse_peers(answer: bytes) -> list[Told]:
    """Parse the answer to `get=1`.

    Args:
        answer: lines of `key=value`, with a blank line at the end.

    Returns:
        The peers of the interface.

    Raises:
        ValueError: the answer is not valid, or reports an error; the text contains no value.

    Thread safety: any thread.
    """
    told: list[Told] = []
    result = None
    for number, key, value in _lines(answer):
        try:
            if key == "errno":
                result = int(value)
            else:
                _take(told, key, value)
        except (ValueError, IndexError):
            # Not chained: the text of the cause contains the value.
            raise ValueError(f"line {number}: {key}: unexpected value") from None
    if result != 0:
        raise ValueError("no answer" if result is None else f"the interface reports errno {result}")
    return told


def _take(told: list[Told], key: str, value: str) -> None:
    """Take what a line says of a peer; other keys are ignored."""
    if key == "public_key":
        told.append(Told(_key(value)))
    elif key == "endpoint":
        told[-1].endpoint = _endpoint(value)
    elif key == "last_handshake_time_sec":
        told[-1].handshake_ns += int(value) * NS_PER_S
    elif key == "last_handshake_time_nsec":
        told[-1].handshake_ns += int(value)
    elif key == "allowed_ip":
        told[-1].allowed[ipaddress.ip_network(value, strict=False)] = None


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != KEY_BYTES:
        raise ValueError("expected a public key")
    return key


def _lines(answer: bytes) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(answer.splitlines(), 1):
        if not line:
            return
        key, equals, value = line.partition(b"=")
        if not equals or len(line) > MAX_LINE_BYTES or not line.isascii():
            raise ValueError(f"line {number}: expected key=value")
        yield number, key.decode(), value.decode()


def _endpoint(text: str) -> str:
    address, port = split_endpoint(text)
    # A zone is a matter of routing; sock connections are counted without it.
    return join_endpoint(str(address).partition("%")[0], port)
