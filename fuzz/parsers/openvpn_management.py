"""A management interface of OpenVPN that says anything: an overlay, or a documented error."""

import contextlib
import socket
from collections.abc import Iterator

from fuzz.parsers import openvpn_status
from fuzz.parsers.answering import Answering
from netlog.sources.openvpn.source import OpenVpnSource

INFO = b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
STATE = b"1772236800,CONNECTED,SUCCESS,10.8.0.1,,,,,fd00::1\r\nEND\r\n"
CLIENT = b"OpenVPN STATISTICS\r\nUpdated,2026-02-28 00:00:00\r\nTUN/TAP read bytes,1\r\nEND\r\n"

_server = Answering(socket.AF_UNIX, asked_first=False)
_source = OpenVpnSource(_server.address)


def seeds() -> Iterator[bytes]:
    """A server, a client, a password's prompt, and a daemon that refuses."""
    for status in openvpn_status.seeds():
        yield INFO + STATE + status
    yield INFO + b">STATE:1,RECONNECTING\r\n" + STATE + CLIENT
    yield b"ENTER PASSWORD:SUCCESS: password is correct\r\n" + INFO + STATE + CLIENT
    yield INFO + b"ERROR: unknown command\r\n"


def fuzz(data: bytes) -> None:
    """Be the daemon."""
    _server.answer = lambda _: data
    with contextlib.suppress(ValueError, OSError):
        _source.snapshot()
