"""A kernel's answer about a WireGuard interface: an overlay, or a documented error.

An input is the pieces of the answer, each with its length in two bytes before it.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator

from netlog.sources.wireguard.kernel import parse_dump
from netlog.sources.wireguard.peers import overlay_of

NESTED = 0x8000
DONE, ERROR, FAMILY = 3, 2, 30


def attribute(kind: int, value: bytes) -> bytes:
    """Make an attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 2) -> bytes:
    """Make a message."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def allowed(family: int, packed: bytes, length: int) -> bytes:
    """Make an allowed IP."""
    fields = attribute(1, struct.pack("=H", family)) + attribute(2, packed)
    return attribute(NESTED, fields + attribute(3, bytes([length])))


def peer(number: int) -> bytes:
    """Make a peer."""
    address = struct.pack("=H2s4s8x", socket.AF_INET, b"\xca\x6c", bytes([192, 0, 2, number]))
    routes = allowed(socket.AF_INET, bytes([10, 0, 0, number]), 32)
    routes += allowed(socket.AF_INET6, bytes([0xFD]) + bytes(14) + bytes([number]), 128)
    moment = struct.pack("=qq", 1_700_000_000 + number, 5)
    fields = attribute(1, bytes([number]) * 32) + attribute(4, address) + attribute(6, moment)
    return attribute(NESTED, fields + attribute(9 | NESTED, routes))


def framed(*pieces: bytes) -> bytes:
    """Make an input."""
    return b"".join(struct.pack("!H", len(piece)) + piece for piece in pieces)


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Take an input apart."""
    while data:
        length = int.from_bytes(data[:2], "big")
        yield data[2 : 2 + length]
        data = data[2 + length :]


def seeds() -> Iterator[bytes]:
    """An interface in one piece and in two, and one that is not there."""
    head = struct.pack("=BBH", 0, 1, 0) + attribute(2, b"wg0\0")
    peers = [peer(number) for number in (1, 2, 3)]
    whole = message(FAMILY, head + attribute(8 | NESTED, b"".join(peers)))
    done = message(DONE, bytes(4))
    yield framed(whole, done)
    yield framed(whole + done)
    yield framed(*(message(FAMILY, head + attribute(8 | NESTED, one)) for one in peers), done)
    yield framed(message(ERROR, struct.pack("=i", -19) + bytes(16)))


def fuzz(data: bytes) -> None:
    """Read it."""
    with contextlib.suppress(ValueError, OSError):
        overlay_of(parse_dump(pieces_of(data)) or (), {})
