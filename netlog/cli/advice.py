"""What a failed system call means for a user, and how to get what is missing."""

import errno
from typing import TypeAlias

__all__ = ["advice_on", "describe"]

TUN_DEVICE = "/dev/net/tun"
NO_RIGHT = frozenset({errno.EACCES, errno.EPERM})
NO_DRIVER = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})

Lines: TypeAlias = tuple[str, ...]


def describe(error: BaseException) -> str:
    """An error in one line: the object that it is about, then what happened."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def advice_on(error: BaseException) -> Lines:
    """How to get what is missing; nothing if the error says it all."""
    if not isinstance(error, OSError):
        return ()
    if error.filename == TUN_DEVICE:
        return _on_tun_device(error)
    if error.errno in NO_RIGHT:
        return ("interfaces, addresses and routes need CAP_NET_ADMIN: run it as root (sudo)",)
    if error.errno == errno.EADDRINUSE:
        return ("choose another port in sock.listen; `ss -ulpn` shows who has this one",)
    if error.errno == errno.EADDRNOTAVAIL:
        return ("sock.listen needs an address of this machine, or all of them: 0.0.0.0 or [::]",)
    if error.errno == errno.EBUSY:
        return ("choose another tun.name; `ip -details link` shows the interfaces there are",)
    return ()


def _on_tun_device(error: OSError) -> Lines:
    if error.errno in NO_RIGHT:
        return (
            "run it as root (sudo)",
            f"or open the device to everybody, as udev does: sudo chmod 0666 {TUN_DEVICE}",
        )
    if error.errno in NO_DRIVER:
        return (
            "load the kernel's TUN driver: sudo modprobe tun",
            f"in a container, hand the device in: --device {TUN_DEVICE} --cap-add NET_ADMIN",
        )
    return ()
