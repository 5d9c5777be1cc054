"""What a watcher must know of the interfaces: when they change, and which addresses they have."""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterator

from netlog._closing import Closing
from netlog.errors import DeviceError
from netlog.model.addresses import IPAddress
from netlog.netlink.messages import (
    ANSWER_BYTES,
    DONE,
    DUMP,
    attributes,
    messages,
    received,
    request,
)

__all__ = ["LinkEvents", "addresses_of", "index_of", "other_end"]

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
RTM_NEWADDR, RTM_GETADDR = 20, 22
IFA_ADDRESS, IFA_LOCAL = 1, 2

TIMEOUT_S = 1.0
"""The kernel answers at once; a bound against hanging."""

_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index


class LinkEvents(Closing):
    """Says when an interface or an address of this network namespace may have changed.

    Raises:
        DeviceError: there are too many descriptors.

    Thread safety: one thread at a time.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
            )
            self._socket.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        except OSError as error:
            raise DeviceError(error.errno, str(error.strerror), "netlink") from error

    def fileno(self) -> int:
        """A descriptor that is ready to read when something may have changed, for select(2)."""
        return self._socket.fileno()

    def take(self) -> None:
        """Forget what has changed so far; what it was is not told."""
        with contextlib.suppress(BlockingIOError):
            while True:
                # Too much at once (ENOBUFS) is a change too.
                with contextlib.suppress(_Overrun):
                    _receive(self._socket)

    def close(self) -> None:
        """Close the socket. Closing twice is fine."""
        self._socket.close()


class _Overrun(Exception):  # noqa: N818 - no error: there was more than the socket holds
    """There was more than the socket holds."""


def _receive(netlink: socket.socket) -> bytes:
    try:
        return netlink.recv(ANSWER_BYTES)
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            raise _Overrun from error
        raise


def index_of(interface: str) -> int:
    """The number of an interface of this network namespace.

    Raises:
        DeviceError: there is none of this name (ENODEV).

    Thread safety: any thread.
    """
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        raise DeviceError(errno.ENODEV, os.strerror(errno.ENODEV), interface) from None


def addresses_of(index: int) -> tuple[IPAddress, ...]:
    """The addresses of an interface of this network namespace, link-local ones left out.

    Args:
        index: its number.

    Returns:
        The addresses, IPv4 first, in the kernel's order; none if there is no such interface.

    Raises:
        DeviceError: the kernel does not say.

    Thread safety: any thread.
    """
    found = dict.fromkeys(address for at, address, _ in _all_addresses() if at == index)
    kept = [address for address in found if not address.is_link_local]
    return tuple(sorted(kept, key=lambda address: address.version))


def other_end(address: IPAddress) -> IPAddress | None:
    """Who is at the other end of the point-to-point interface that has an address.

    Args:
        address: one of this network namespace.

    Returns:
        The other end's address; None if nobody has the address, or it has a network behind it.

    Raises:
        DeviceError: the kernel does not say.

    Thread safety: any thread.
    """
    others = (other for _, own, other in _all_addresses() if own == address)
    return next((other for other in others if other != address), None)


def _all_addresses() -> list[tuple[int, IPAddress, IPAddress]]:
    """The number of the interface, the address and the one at the other end, of every address."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            ask = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            netlink.send(request(RTM_GETADDR, ask, DUMP))
            return list(_dumped(received(netlink, time.monotonic() + TIMEOUT_S)))
    except OSError as error:
        raise DeviceError(error.errno or errno.EIO, str(error), "netlink") from error
    except ValueError as error:
        raise DeviceError(errno.EBADMSG, str(error), "netlink") from error


def _dumped(pieces: Iterator[bytes]) -> Iterator[tuple[int, IPAddress, IPAddress]]:
    for piece in pieces:
        for kind, _, body in messages(piece):
            if kind == DONE:
                return
            if kind == RTM_NEWADDR and len(body) >= _ADDRESS.size:
                yield from _address(body)


def _address(body: bytes) -> Iterator[tuple[int, IPAddress, IPAddress]]:
    *_, index = _ADDRESS.unpack_from(body)
    found = dict(attributes(body[_ADDRESS.size :]))
    # On a point-to-point link, IFA_ADDRESS is the other end; elsewhere both are the same.
    far = found.get(IFA_ADDRESS, b"")
    own = found.get(IFA_LOCAL, far)
    far = far or own
    if len(own) in (4, 16) and len(far) == len(own):
        yield int(index), ipaddress.ip_address(own), ipaddress.ip_address(far)
