"""What a user is told on standard error: one line each, and what to do about a failure.

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
"""What `netlog.devices.tap` calls its own, written here again as that brings numpy."""
NO_RIGHT = (errno.EACCES, errno.EPERM)
NO_DRIVER = (errno.ENOENT, errno.ENODEV, errno.ENXIO)

NEEDS_RIGHT: Lines = (
    "run it as root (sudo)",
    f"or open the device to everybody, as udev does: sudo chmod 0666 {TUN_DEVICE}",
)
NEEDS_DRIVER: Lines = (
    "load the kernel's TUN driver: sudo modprobe tun",
    f"in a container, hand the device in: --device {TUN_DEVICE} --cap-add NET_ADMIN",
)
ON_TUN_DEVICE: dict[int | None, Lines] = {
    **dict.fromkeys(NO_RIGHT, NEEDS_RIGHT),
    **dict.fromkeys(NO_DRIVER, NEEDS_DRIVER),
}
ON_PACKET_SOCKET: dict[int | None, Lines] = dict.fromkeys(
    NO_RIGHT,
    (
        "tapping an interface needs CAP_NET_RAW and no other right: run it as root (sudo)",
        "in a container: --cap-add NET_RAW; in systemd: AmbientCapabilities=CAP_NET_RAW",
    ),
)
ELSEWHERE: dict[int | None, Lines] = {
    errno.EPERM: (
        "interfaces, addresses and routes need CAP_NET_ADMIN: run it as root (sudo)",
        "in a container, add --cap-add NET_ADMIN",
    ),
    errno.EROFS: ("in a container, run it with --privileged",),
    errno.EADDRINUSE: ("choose another port in sock.listen; `ss -ulpn` shows who has this one",),
    errno.EADDRNOTAVAIL: (
        "sock.listen needs an address of this machine, or all of them: 0.0.0.0 or [::]",
    ),
    errno.EBUSY: ("choose another tun.name; `ip -details link` shows the interfaces there are",),
}


def say(line: str) -> None:
    """Tell the user something; who closed standard error does not want to know."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"netlog: {line}\n")
        sys.stderr.flush()


def describe(error: BaseException) -> str:
    """An error in one line: the object that it is about, then what happened."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def advice_on(error: BaseException) -> Lines:
    """How to get what is missing; nothing if the error says it all."""
    if not isinstance(error, OSError):
        return ()
    own = {TUN_DEVICE: ON_TUN_DEVICE, PACKET_SOCKET: ON_PACKET_SOCKET}
    about = own.get(error.filename, ELSEWHERE)
    return about.get(error.errno, ())
