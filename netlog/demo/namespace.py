"""Network namespaces without a name, held by a descriptor.

Such a namespace, with all that is in it, goes when the process goes, however it goes: there is
nothing to clean up.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from netlog._closing import Closing

__all__ = ["Namespace"]

CLONE_NEWNET = 0x40000000
"""linux/sched.h."""
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace(Closing):
    """A network namespace of its own.

    Raises:
        OSError: making one is not allowed.

    Thread safety: any thread may enter it; each returns to where it came from.
    """

    def __init__(self) -> None:
        with _returning():
            _move("unshare", CLONE_NEWNET)
            self.fd = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it; it ends with the last socket and interface descriptor in it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into it until the block ends; sockets made there stay there."""
        with _returning():
            _move("setns", self.fd, CLONE_NEWNET)
            yield

    def set(self, name: str, value: int) -> None:
        """Change a setting of its network stack, such as `net/ipv4/ip_forward`."""
        with self.entered():
            Path("/proc/sys", name).write_text(f"{value}\n")


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _move("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)


def _move(call: str, *arguments: int) -> None:
    if getattr(_libc, call)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), call)
