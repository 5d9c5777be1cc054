"""Lines for the user on standard error: what happened, and what to do about a failure.

Standard output is for messages only.
"""

import contextlib
import errno
import sys
from typing import TypeAlias

__all__ = ["TUN_DEVICE", "Lines", "advice_on", "describe", "say"]

Lines: TypeAlias = tuple[str, ...]

TUN_DEVICE = "/dev/net/tun"
PACKET_SOCKET = "packet socket"
"""The name that `netlog.devices.tap` gives its packet socket. It is repeated here because importing
that module imports numpy."""
NO_RIGHT = (errno.EACCES, errno.EPERM)
NO_DRIVER = (errno.ENOENT, errno.ENODEV, errno.ENXIO)

NEEDS_RIGHT: Lines = (
    "run netlog as root (sudo)",
    f"or let all users open the device, as udev does: sudo chmod 0666 {TUN_DEVICE}",
)
NEEDS_DRIVER: Lines = (
    "load the kernel's TUN driver: sudo modprobe tun",
    f"in a container, give it the device: --device {TUN_DEVICE} --cap-add NET_ADMIN",
)
ON_TUN_DEVICE: dict[int | None, Lines] = {
    **dict.fromkeys(NO_RIGHT, NEEDS_RIGHT),
    **dict.fromkeys(NO_DRIVER, NEEDS_DRIVER),
}
ON_PACKET_SOCKET: dict[int | None, Lines] = dict.fromkeys(
    NO_RIGHT,
    (
        "tapping an interface needs CAP_NET_RAW, and no other right: run netlog as root (sudo)",
        "in a container, add --cap-add NET_RAW; in systemd, AmbientCapabilities=CAP_NET_RAW",
    ),
)
ELSEWHERE: dict[int | None, Lines] = {
    errno.EPERM: (
        "setting interfaces, addresses and routes needs CAP_NET_ADMIN: run netlog as root (sudo)",
        "in a container, add --cap-add NET_ADMIN",
    ),
    errno.EROFS: ("in a container, run the container with --privileged",),
    errno.EADDRINUSE: ("choose another port in sock.listen; `ss -ulpn` shows who uses this one",),
    errno.EADDRNOTAVAIL: (
        "set sock.listen to an address of this machine, or to all of them: 0.0.0.0 or [::]",
    ),
    errno.EBUSY: ("choose another tun.name; `ip -details link` lists the existing interfaces",),
}


def say(line: str) -> None:
    """Write a line for the user to standard error; if that is closed, do nothing."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"netlog: {line}\n")
        sys.stderr.flush()


def describe(error: BaseException) -> str:
    """An error in one line: the object that it concerns, then what happened."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def advice_on(error: BaseException) -> Lines:
    """How to get what is missing; empty if the error says everything."""
    if not isinstance(error, OSError):
        return ()
    own = {TUN_DEVICE: ON_TUN_DEVICE, PACKET_SOCKET: ON_PACKET_SOCKET}
    about = own.get(error.filename, ELSEWHERE)
    return about.get(error.errno, ())
