"""What a watcher must know of the interfaces: when they change, and which addresses they have.

Plain netlink, as much as this needs: a dump and a group, without the start-up of a netlink library.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from netlog._closing import Closing
from netlog.errors import DeviceError
from netlog.model.addresses import IPAddress

__all__ = ["LinkEvents", "addresses_of", "index_of", "other_end"]

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
RTM_NEWADDR, RTM_GETADDR = 20, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2

ANSWER_BYTES = 1 << 16
"""A netlink message of a dump is at most 32 KiB."""
TIMEOUT_S = 1.0
"""The kernel answers at once; a bound against hanging."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type


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
            netlink.settimeout(TIMEOUT_S)
            body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            flags = NLM_F_REQUEST | NLM_F_DUMP
            length = _HEADER.size + len(body)
            netlink.send(_HEADER.pack(length, RTM_GETADDR, flags, 1, 0) + body)
            return list(_dumped(netlink))
    except OSError as error:
        raise DeviceError(error.errno or errno.EIO, str(error), "netlink") from error


def _dumped(netlink: socket.socket) -> Iterator[tuple[int, IPAddress, IPAddress]]:
    while True:
        data = netlink.recv(ANSWER_BYTES)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if length < _HEADER.size or length > len(data) or kind == NLMSG_ERROR:
                raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
            if kind == NLMSG_DONE:
                return
            if kind == RTM_NEWADDR and length >= _HEADER.size + _ADDRESS.size:
                yield from _address(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _address(body: bytes) -> Iterator[tuple[int, IPAddress, IPAddress]]:
    *_, index = _ADDRESS.unpack_from(body)
    found: dict[int, bytes] = {}
    rest = body[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size or length > len(rest):
            return
        found[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]
    # Of a point-to-point link, IFA_ADDRESS is the other end; else both are the same.
    far = found.get(IFA_ADDRESS, b"")
    own = found.get(IFA_LOCAL, far)
    far = far or own
    if len(own) in (4, 16) and len(far) == len(own):
        yield int(index), ipaddress.ip_address(own), ipaddress.ip_address(far)
