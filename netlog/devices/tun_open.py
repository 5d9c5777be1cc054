"""Opening a TUN: the clone device, the flags it is attached with, and what the kernel offers.

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

# linux/if.h, linux/if_tun.h: what TUNSETIFF takes and TUNGETIFF gives.
IFNAMSIZ = 16
IFREQ_FLAGS = struct.Struct(f"{IFNAMSIZ}sH22x")
IFREQ_MTU = struct.Struct(f"{IFNAMSIZ}si20x")
IFF_TUN = 0x0001
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
SIOCSIFMTU = 0x8922

# linux/if_tun.h: what TUNSETOFFLOAD takes. The kernel has both of USO or neither, from 6.2 on.
TUN_F_CSUM, TUN_F_TSO, TUN_F_USO = 0x01, 0x06, 0x60
OFFLOADS = (
    (TUN_F_CSUM | TUN_F_TSO | TUN_F_USO, ("checksum", "tso", "uso")),
    (TUN_F_CSUM | TUN_F_TSO, ("checksum", "tso")),
    (TUN_F_CSUM, ("checksum",)),
)

RIGHTS = (
    "run as root (CAP_NET_ADMIN), or let root make it for you: "
    "`ip tuntap add dev NAME mode tun user USER`"
)


def check_name(name: str) -> None:
    """Refuse what can not be an interface's name, as the kernel would, but with the reason.

    Raises:
        ValueError: it can not.
    """
    encoded = os.fsencode(name)
    if len(encoded) >= IFNAMSIZ:
        raise ValueError(f"{name!r}: an interface's name has at most {IFNAMSIZ - 1} bytes")
    if name in {".", ".."} or re.search(r"[\s/:\0]", name):
        raise ValueError(f"{name!r}: not a name for an interface")
    if "%" in name.replace("%d", "", 1):
        raise ValueError(f"{name!r}: expected at most one %d in an interface's name")


@dataclass(frozen=True, slots=True)
class OpenedTun:
    """A TUN that was opened.

    Attributes:
        name: the interface's.
        fds: a non-blocking descriptor for each queue.
        offloads: what the kernel leaves to its readers; None: without virtio headers.
    """

    name: str
    fds: list[int]
    offloads: frozenset[str] | None


def open_tun(
    stack: contextlib.ExitStack, name: str, count: int, *, mtu: int | None, offload: bool
) -> OpenedTun:
    """Make a TUN interface, or attach to one that is persistent and free.

    What the kernel, or the interface that is there, does not have is said, and done without.

    Args:
        stack: closes the descriptors.
        name: as for `TunDevice.open`, checked.
        count: queues, at least 1.
        mtu: bytes, checked; None: as it is.
        offload: let the kernel hand over super-packets.

    Raises:
        DeviceError: as `TunDevice.open`.
    """
    first = _open_clone_device(stack)
    known = _features(first)
    vnet = offload and bool(known & IFF_VNET_HDR)
    if offload and not vnet:
        _log.info("%s: the kernel has no offloads for a TUN", name)
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
        _log.info("%s: has %d of the %d queues that were asked for", given, len(fds), count)
    if mtu is not None:
        _set_mtu(given, mtu)
    return OpenedTun(given, fds, set_offloads(first, given, wanted=vnet))


def _attach_first_of_several(fd: int, name: str, flags: int) -> str | None:
    """The interface's name; None: there is one already, and it was made for one queue."""
    try:
        return _attach(fd, name, flags)
    except DeviceError as error:
        if error.errno != errno.EINVAL:
            raise
    return None


def _more_queues(stack: contextlib.ExitStack, name: str, count: int, flags: int) -> list[int]:
    """The descriptors of all queues but the first, as many as the kernel gives."""
    found: list[int] = []
    while len(found) < count - 1:
        fd = _open_clone_device(stack)
        try:
            _attach(fd, name, flags)
        except DeviceError as error:
            _log.info("%s: the kernel gives no further queue: %s", name, error)
            break
        found.append(fd)
    return found


def _open_clone_device(stack: contextlib.ExitStack) -> int:
    try:
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError as error:
        raise refusal(error, CLONE_DEVICE, RIGHTS) from None
    except OSError as error:
        raise refusal(error, CLONE_DEVICE, "the kernel has no TUN driver loaded") from None
    stack.callback(os.close, fd)
    return fd


def _attach(fd: int, name: str, flags: int) -> str:
    request: Any = IFREQ_FLAGS.pack(os.fsencode(name), IFF_TUN | IFF_NO_PI | flags)
    hints = {
        errno.EPERM: RIGHTS,
        errno.EBUSY: "another process has this interface open",
        errno.EINVAL: "an interface of this name exists that is no TUN of one queue",
    }
    try:
        answer = fcntl.ioctl(fd, lib.TUNSETIFF, request)
    except OSError as error:
        raise refusal(error, name or "tun", hints.get(error.errno or 0)) from None
    return name_in(answer)


def _features(fd: int) -> int:
    """Flags that the kernel's TUN driver knows; 0 if it does not say."""
    try:
        (flags,) = struct.unpack("I", fcntl.ioctl(fd, lib.TUNGETFEATURES, bytes(4)))
    except OSError:
        return 0
    return int(flags)


def set_offloads(fd: int, name: str, *, wanted: bool) -> frozenset[str] | None:
    """Ask for every offload that the kernel has, and say what it has not; or for none."""
    if not wanted:
        # Whoever had a persistent interface before may have left them set.
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, 0)
        return None
    for flags, given in OFFLOADS:
        try:
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, flags)
        except OSError as error:
            _log.info("%s: the kernel has no offload of %s: %s", name, given[-1], error)
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
    """The interface's name in what TUNSETIFF and TUNGETIFF answer."""
    return os.fsdecode(answer[:IFNAMSIZ].partition(b"\0")[0])


def refusal(error: OSError, what: str, hint: str | None) -> DeviceError:
    """An OSError as a DeviceError, with a hint at what to do."""
    code = error.errno or 0
    text = os.strerror(code)
    return DeviceError(code, f"{text} ({hint})" if hint else text, what)
