"""Opening a TUN: the clone device, the flags to attach with, and the kernel's features.

Source: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import Any

from netlog._native import lib
from netlog.errors import DeviceError

__all__ = [
    "IFF_NO_PI",
    "IFF_TUN",
    "IFF_VNET_HDR",
    "IFREQ_FLAGS",
    "OpenedTun",
    "check_name",
    "name_in",
    "open_tun",
    "refusal",
    "set_offloads",
]

_log = logging.getLogger("netlog")

CLONE_DEVICE = "/dev/net/tun"

# linux/if.h, linux/if_tun.h: arguments and results of TUNSETIFF and TUNGETIFF.
IFNAMSIZ = 16
IFREQ_FLAGS = struct.Struct(f"{IFNAMSIZ}sH22x")
IFREQ_MTU = struct.Struct(f"{IFNAMSIZ}si20x")
IFF_TUN = 0x0001
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
SIOCSIFMTU = 0x8922

# linux/if_tun.h: arguments of TUNSETOFFLOAD. From Linux 6.2 on the kernel has both bits of USO,
# before neither.
TUN_F_CSUM, TUN_F_TSO, TUN_F_USO = 0x01, 0x06, 0x60
OFFLOADS = (
    (TUN_F_CSUM | TUN_F_TSO | TUN_F_USO, ("checksum", "tso", "uso")),
    (TUN_F_CSUM | TUN_F_TSO, ("checksum", "tso")),
    (TUN_F_CSUM, ("checksum",)),
)

RIGHTS = (
    "run as root (CAP_NET_ADMIN), or let root make the interface for you: "
    "`ip tuntap add dev NAME mode tun user USER`"
)


def check_name(name: str) -> None:
    """Raise if the kernel would refuse the name, and say why.

    Raises:
        ValueError: it cannot be an interface's name.
    """
    encoded = os.fsencode(name)
    if len(encoded) >= IFNAMSIZ:
        raise ValueError(f"{name!r}: an interface's name has at most {IFNAMSIZ - 1} bytes")
    if name in {".", ".."} or re.search(r"[\s/:\0]", name):
        raise ValueError(f"{name!r}: not a valid interface name")
    if "%" in name.replace("%d", "", 1):
        raise ValueError(f"{name!r}: expected at most one %d in an interface's name")


@dataclass(frozen=True, slots=True)
class OpenedTun:
    """A TUN that was opened.

    Attributes:
        name: the interface's.
        fds: a non-blocking descriptor for each queue.
        offloads: what the kernel leaves to the reader; None: there are no virtio headers.
    """

    name: str
    fds: list[int]
    offloads: frozenset[str] | None


def open_tun(
    stack: contextlib.ExitStack, name: str, count: int, *, mtu: int | None, offload: bool
) -> OpenedTun:
    """Make a TUN interface, or attach to a persistent one that is free.

    If the kernel or the existing interface lacks a feature, netlog logs that and continues without.

    Args:
        stack: closes the descriptors.
        name: as for `TunDevice.open`, checked.
        count: number of queues, at least 1.
        mtu: bytes, checked; None: unchanged.
        offload: let the kernel hand over super-packets.

    Raises:
        DeviceError: as `TunDevice.open`.
    """
    first = _open_clone_device(stack)
    known = _features(first)
    vnet = offload and bool(known & IFF_VNET_HDR)
    if offload and not vnet:
        _log.info("%s: the kernel has no TUN offloads", name)
    flags = IFF_VNET_HDR if vnet else 0
    given = None
    if count > 1 and known & IFF_MULTI_QUEUE:
        given = _attach_first_of_several(first, name, flags | IFF_MULTI_QUEUE)
    if given is None:
        given = _attach(first, name, flags)
        fds = [first]
    else:
        fds = [first, *_more_queues(stack, given, count, flags | IFF_MULTI_QUEUE)]
    if len(fds) < count:
        _log.info("%s: opened %d of the %d requested queues", given, len(fds), count)
    if mtu is not None:
        _set_mtu(given, mtu)
    return OpenedTun(given, fds, set_offloads(first, given, wanted=vnet))


def _attach_first_of_several(fd: int, name: str, flags: int) -> str | None:
    """Return the interface's name; None: it exists already, and was made for one queue."""
    try:
        return _attach(fd, name, flags)
    except DeviceError as error:
        if error.errno != errno.EINVAL:
            raise
    return None


def _more_queues(stack: contextlib.ExitStack, name: str, count: int, flags: int) -> list[int]:
    """Return the descriptors of all queues but the first, as many as the kernel gives."""
    found: list[int] = []
    while len(found) < count - 1:
        fd = _open_clone_device(stack)
        try:
            _attach(fd, name, flags)
        except DeviceError as error:
            _log.info("%s: the kernel gives no more queues: %s", name, error)
            break
        found.append(fd)
    return found


def _open_clone_device(stack: contextlib.ExitStack) -> int:
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError as error:
        raise refusal(error, CLONE_DEVICE, RIGHTS) from None
    except OSError as error:
        raise refusal(error, CLONE_DEVICE, "load the TUN driver: `modprobe tun`") from None
    stack.callback(os.close, fd)
    return fd


def _attach(fd: int, name: str, flags: int) -> str:
    request: Any = IFREQ_FLAGS.pack(os.fsencode(name), IFF_TUN | IFF_NO_PI | flags)
    hints = {
        errno.EPERM: RIGHTS,
        errno.EBUSY: "another process has this interface open",
        errno.EINVAL: "an interface of this name exists, but is not a TUN with one queue",
    }
    try:
        answer = fcntl.ioctl(fd, lib.TUNSETIFF, request)
    except OSError as error:
        raise refusal(error, name or "tun", hints.get(error.errno or 0)) from None
    return name_in(answer)


def _features(fd: int) -> int:
    """Return the flags that the kernel's TUN driver knows; 0 if it does not tell."""
    try:
        (flags,) = struct.unpack("I", fcntl.ioctl(fd, lib.TUNGETFEATURES, bytes(4)))
    except OSError:
        return 0
    return int(flags)


def set_offloads(fd: int, name: str, *, wanted: bool) -> frozenset[str] | None:
    """Request every offload that the kernel has, and log which it lacks; or clear all of them."""
    if not wanted:
        # An earlier user of a persistent interface may have left offloads set.
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, 0)
        return None
    for flags, given in OFFLOADS:
        try:
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, flags)
        except OSError as error:
            _log.info("%s: the kernel has no %s offload for a TUN: %s", name, given[-1], error)
        else:
            return frozenset(given)
    return frozenset()


def _set_mtu(name: str, mtu: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, SIOCSIFMTU, IFREQ_MTU.pack(os.fsencode(name), mtu))
        except OSError as error:
            raise refusal(error, name, f"setting the MTU to {mtu}") from None


def name_in(answer: bytes) -> str:
    """Return the interface's name from an answer of TUNSETIFF or TUNGETIFF."""
    return os.fsdecode(answer[:IFNAMSIZ].partition(b"\0")[0])


def refusal(error: OSError, what: str, hint: str | None) -> DeviceError:
    """Turn an OSError into a DeviceError, with a hint what to do."""
    code = error.errno or 0
    text = os.strerror(code)
    return DeviceError(code, f"{text} ({hint})" if hint else text, what)
