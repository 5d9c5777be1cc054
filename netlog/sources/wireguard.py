"""A WireGuard interface in user space (wireguard-go, boringtun), asked over its UAPI socket.

Source: https://www.wireguard.com/xplatform/
"""

import ipaddress
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from netlog.endpoints import join_endpoint, split_endpoint
from netlog.peer_map import Peer
from netlog.routes import Network
from netlog.sources.base import Overlay

__all__ = ["SOCKET_FOLDER", "WireGuardSource", "parse_answer"]

SOCKET_FOLDER = Path("/var/run/wireguard")
TIMEOUT_S = 0.5
"""For the whole answer: messages wait for it."""
MAX_ANSWER_BYTES = 16 << 20
"""40 000 peers with a few prefixes each."""
MAX_LINE_BYTES = 4096
PIECE_BYTES = 1 << 16


class WireGuardSource:
    """The peers of a WireGuard interface: endpoint and allowed IPs of each.

    A peer without an endpoint yet adds to the routes only. Nothing but these is kept of an answer,
    which holds the interface's private key too.

    Args:
        interface: its name.
        folder: where the UAPI sockets lie.

    Thread safety: any thread.
    """

    def __init__(self, interface: str, folder: Path = SOCKET_FOLDER) -> None:
        self._path = folder / f"{interface}.sock"

    def snapshot(self) -> Overlay:
        """What is so now.

        Raises:
            OSError: nobody listens, or the answer does not come in half a second.
            ValueError: what came is no answer; the text shows nothing of it.
        """
        return parse_answer(self._ask())

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
                    raise ValueError(f"{self._path}: the answer ends in the middle")
                n_bytes += len(piece)
                if n_bytes > MAX_ANSWER_BYTES:
                    raise ValueError(f"{self._path}: the answer is too long")
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{self._path}: the answer takes too long")
                pieces.append(piece)
                tail = (tail + piece)[-2:]
        return b"".join(pieces)


@dataclass(slots=True)
class _Told:
    """What an answer says of a peer."""

    endpoint: str = ""
    allowed: dict[Network, None] = field(default_factory=dict)


def parse_answer(answer: bytes) -> Overlay:
    """Read the answer to `get=1`.

    Args:
        answer: lines of `key=value`, with a blank line at the end.

    Returns:
        The peers that have an endpoint, and the allowed IPs of all.

    Raises:
        ValueError: it is none, or one that tells of a failure; the text shows no value.

    Thread safety: any thread.
    """
    told: list[_Told] = []
    result = None
    for number, key, value in _lines(answer):
        try:
            if key == "errno":
                result = int(value)
            else:
                _take(told, key, value)
        except (ValueError, IndexError):
            # Not chained: the text of the cause has the value.
            raise ValueError(f"line {number}: {key}: not as expected") from None
    if result != 0:
        raise ValueError("no answer" if result is None else f"the interface says errno {result}")
    peers = {
        peer.endpoint: Peer(peer.endpoint, tuple(map(str, peer.allowed)))
        for peer in told
        if peer.endpoint
    }
    routes = dict.fromkeys(network for peer in told for network in peer.allowed)
    return Overlay(peers=tuple(peers.values()), routes=tuple(routes))


def _take(told: list[_Told], key: str, value: str) -> None:
    """Note what a line says of a peer; other keys are none of ours."""
    if key == "public_key":
        told.append(_Told())
    elif key == "endpoint":
        told[-1].endpoint = _endpoint(value)
    elif key == "allowed_ip":
        told[-1].allowed[ipaddress.ip_network(value, strict=False)] = None


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
    # A zone is a matter of routing; datagrams are told apart without it.
    return join_endpoint(str(address).partition("%")[0], port)
