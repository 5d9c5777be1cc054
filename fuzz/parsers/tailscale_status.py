"""A tailscaled that answers anything: an overlay, or a documented error.

An input is three answers, with a zero byte between them: status, preferences, relays. Each may have
a header of HTTP; without one, it is the body of a good answer.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.parsers.answering import Answering
from netlog.sources.tailscale.source import TailscaleSource

STATUS: dict[str, Any] = {
    "BackendState": "Running",
    "Self": {
        "ID": "n1",
        "HostName": "a",
        "DNSName": "a.example.ts.net.",
        "OS": "linux",
        "UserID": 1,
        "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"],
        "AllowedIPs": ["100.64.0.1/32", "10.0.0.0/8"],
        "Tags": ["tag:x"],
    },
    "Peer": {
        "nodekey:bb": {
            "ID": "n2",
            "DNSName": "b.example.ts.net.",
            "UserID": 1,
            "TailscaleIPs": ["100.64.0.2"],
            "AllowedIPs": ["100.64.0.2/32"],
            "PrimaryRoutes": ["10.1.0.0/16"],
            "Addrs": ["192.0.2.3:41641"],
            "CurAddr": "192.0.2.2:41641",
            "Active": True,
        },
        "nodekey:cc": {
            "ID": "n3",
            "TailscaleIPs": ["100.64.0.3"],
            "Relay": "fra",
            "PeerRelay": "192.0.2.7:1:vni:2",
            "Active": True,
        },
    },
    "User": {"1": {"LoginName": "user@example.com"}},
}
PREFERENCES = {"AdvertiseRoutes": ["10.0.0.0/8"]}
RELAYS = {"Regions": {"4": {"RegionID": 4, "RegionCode": "fra"}}}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

_server = Answering(socket.AF_UNIX, asked_first=True)


def seeds() -> Iterator[bytes]:
    """A good daemon, a chunked answer, an old daemon, and one that is logged out."""
    status, preferences, relays = (
        json.dumps(page, separators=(",", ":")).encode() for page in (STATUS, PREFERENCES, RELAYS)
    )
    yield b"\0".join((status, preferences, relays))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%s\r\n0\r\n\r\n" % (len(status), status)
    yield b"\0".join((chunked, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", relays))
    yield b'{"BackendState":"NeedsLogin","Self":null}\0\0'


def fuzz(data: bytes) -> None:
    """Be the daemon, twice: the second answer is compared with the first."""
    answers = [*data.split(b"\0"), b"", b""]
    pages = dict(zip((b"status", b"prefs", b"derpmap"), answers, strict=False))

    def answer(request: bytes) -> bytes:
        text = next((text for page, text in pages.items() if page in request), b"")
        return text if text.startswith(b"HTTP/") else GOOD + text

    _server.answer = answer
    source = TailscaleSource(Path(_server.address))
    with contextlib.suppress(ValueError, OSError):
        first = source.snapshot()
        assert source.snapshot() == first
