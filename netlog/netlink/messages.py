"""The framing of netlink: requests to the kernel, and the messages and attributes of its answers.

pyroute2 sets up interfaces, addresses and routes (`netlog.netlink.links`). It does not read what a
process that meters asks again in each period: its import takes 110 ms and 20 MiB, and its decoder
470 us for a WireGuard peer. This module takes 33 to 77 us.

Source: netlink(7), include/uapi/linux/netlink.h
"""

import os
import socket
import struct
import time
from collections.abc import Iterator

__all__ = [
    "ANSWER_BYTES",
    "DONE",
    "DUMP",
    "DUMP_INTERRUPTED",
    "ERROR",
    "attribute",
    "attributes",
    "messages",
    "received",
    "request",
]

ERROR, DONE = 2, 3
"""NLMSG_ERROR and NLMSG_DONE: types of messages."""
REQUEST, DUMP_INTERRUPTED, DUMP = 0x1, 0x10, 0x300
"""NLM_F_REQUEST, NLM_F_DUMP_INTR and NLM_F_DUMP: flags of messages."""
KIND = 0x3FFF
"""The bits of an attribute's type that are its kind; the others are flags."""
ANSWER_BYTES = 1 << 17
"""A message of a dump has at most 32 KiB, unless the receiver accepts more."""
MAX_ANSWER_BYTES = 16 << 20
"""The most bytes of one answer."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
MAX_ERRNO = 4095
"""The kernel's own: no error number is greater."""

_ERROR = struct.Struct("=i")  # nlmsgerr, and the end of a dump
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type


def request(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A request, as send(2) takes it."""
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, REQUEST | flags, 1, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded to a multiple of four bytes."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def received(netlink: socket.socket, deadline_s: float) -> Iterator[bytes]:
    """Receive an answer, piece by piece.

    Args:
        netlink: the socket.
        deadline_s: the moment, on the monotonic clock, until which the answer must come.

    Raises:
        OSError: an answer did not come in time, or cannot be received.
        ValueError: the answer is too long.
    """
    n_bytes = 0
    while True:
        netlink.settimeout(max(deadline_s - time.monotonic(), 0.001))
        data = netlink.recv(ANSWER_BYTES)
        n_bytes += len(data)
        if n_bytes > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        yield data


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Split a piece of an answer into type, flags and body of each message.

    Raises:
        OSError: the kernel refused the request.
        ValueError: a message is cut off.
    """
    while data:
        if len(data) < _HEADER.size:
            raise ValueError("a message is cut off")
        length, kind, flags, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise ValueError("a message is cut off")
        body = data[_HEADER.size : length]
        if kind in (ERROR, DONE) and len(body) >= _ERROR.size:
            (number,) = _ERROR.unpack_from(body)
            if number < -MAX_ERRNO:
                raise ValueError("the kernel's answer has an error number that does not exist")
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        yield kind, flags, body
        data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a body, from its first attribute on, into kind and value of each attribute.

    Raises:
        ValueError: an attribute is cut off.
    """
    while data:
        if len(data) < _ATTRIBUTE.size:
            raise ValueError("an attribute is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise ValueError("an attribute is cut off")
        yield kind & KIND, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
