"""The only module that imports the compiled core."""

import errno
import importlib.machinery
import importlib.util
import os
import sys

from netlog.errors import DeviceError

if not sys.platform.startswith("linux"):
    raise ImportError(f"netlog meters Linux TUN devices and cannot run on {sys.platform}")

from netlog import _core
from netlog._core import ffi, lib


def _load_writer() -> None:
    """Make `netlog._writer` importable: it is a second module in the shared object of the first.

    Both must share one core, because the core has state of its own: which processor it runs on, and
    what this process told the kernel.
    """
    name = "netlog._writer"
    loader = importlib.machinery.ExtensionFileLoader(name, _core.__file__)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # noqa: S101 - for the type checker; a loader was given
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module


_load_writer()
from netlog._writer import LaneWriter  # noqa: E402 - was loaded just now

__all__ = ["LaneWriter", "check", "ffi", "lib"]


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
