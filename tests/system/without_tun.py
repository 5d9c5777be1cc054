"""`without_tun.py COMMAND`: run it in a mount namespace in which there is no /dev/net/tun."""

import ctypes
import os
import sys

# linux/sched.h, linux/mount.h
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000


def main(command: list[str]) -> None:
    """Hide the device from this process, and become the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, arguments in (
        ("unshare", (CLONE_NEWNS,)),
        ("mount", (None, b"/", None, MS_REC_PRIVATE, None)),
        ("mount", (b"tmpfs", b"/dev/net", b"tmpfs", 0, None)),
    ):
        if getattr(libc, name)(*arguments) != 0:
            sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)  # noqa: S606 - what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
