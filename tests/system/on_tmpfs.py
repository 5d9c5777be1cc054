"""`on_tmpfs.py DIRECTORY SIZE COMMAND`: run it where there is a small file system on a directory.

The mount is in a namespace of the command's own: it goes when the command ends. Others reach it as
/proc/PID/root/DIRECTORY.
"""

import ctypes
import os
import sys

# linux/sched.h, linux/mount.h
CLONE_NEWNS = 0x20000
MS_REC_PRIVATE = 0x44000


def main(directory: str, size: str, command: list[str]) -> None:
    """Mount a tmpfs and become the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, arguments in (
        ("unshare", (CLONE_NEWNS,)),
        ("mount", (None, b"/", None, MS_REC_PRIVATE, None)),
        ("mount", (b"tmpfs", directory.encode(), b"tmpfs", 0, f"size={size}".encode())),
    ):
        if getattr(libc, name)(*arguments) != 0:
            sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)  # noqa: S606 - what it is for


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
