"""The only module that imports the compiled core."""

import errno
import os
import sys

from netlog.errors import DeviceError

if not sys.platform.startswith("linux"):
    raise ImportError(f"netlog meters Linux TUN devices and cannot run on {sys.platform}")

from netlog._core import ffi, lib

__all__ = ["check", "ffi", "lib"]


def check(result: int, what: str) -> int:
    """Raise the exception for a negative errno from the core.

    Args:
        result: the return value of a call into the core; 0 or more is success.
        what: the name of the object that the call concerned, in the user's terms.

    Returns:
        `result`, if it is not negative.

    Raises:
        MemoryError: for ENOMEM.
        ValueError: for EINVAL: the core found an argument out of range.
        DeviceError: for every other errno.
    """
    if result >= 0:
        return result
    if result == -errno.ENOMEM:
        raise MemoryError(f"{what}: out of memory")
    if result == -errno.EINVAL:
        raise ValueError(f"{what}: argument out of range")
    raise DeviceError(-result, os.strerror(-result), what)
