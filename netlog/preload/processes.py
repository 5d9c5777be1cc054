"""The processes that count into a meter through the preload library, and the TUNs they opened."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from netlog.preload.library import METER_VARIABLE

__all__ = ["PreloadProcesses"]

PROC = Path("/proc")
TUN_DEVICE = os.makedev(10, 200)
"""/dev/net/tun, under any name. Source: Linux Documentation/admin-guide/devices.txt."""
MAX_INFO_BYTES = 4096
"""How much of a descriptor's fdinfo is read; that of a TUN has 60 bytes."""


class PreloadProcesses:
    """The processes of one meter, recognised by their environment, which is fixed at their start.

    Only root sees other users' processes.

    Args:
        meter: path of the meter's file.

    Thread safety: one thread at a time.
    """

    def __init__(self, meter: str) -> None:
        self._variable = os.fsencode(f"{METER_VARIABLE}={meter}")
        self._with_tun: list[int] = []

    def pids(self) -> list[int]:
        """Return all that are alive."""
        found = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
        return [pid for pid in found if self._is_one(pid)]

    def tun_interfaces(self) -> tuple[str, ...]:
        """Return the names of the TUN interfaces that they hold, in this network namespace.

        This looks through all processes only while it knows none that has a TUN.
        """
        found = self._held()
        if not found:
            self._with_tun = self.pids()
            found = self._held()
        self._with_tun = list(found)
        return tuple(dict.fromkeys(name for names in found.values() for name in names))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of them."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    # -- inside -----------------------------------------------------------------------------------

    def _is_one(self, pid: int) -> bool:
        try:
            environment = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            return False
        return self._variable in environment.split(b"\0")

    def _held(self) -> dict[int, list[str]]:
        """Return TUN interfaces by the process that holds them; only processes that hold some."""
        held = {}
        for pid in self._with_tun:
            with contextlib.suppress(OSError):
                if self._is_one(pid) and _same_network(pid) and (names := list(_tuns(pid))):
                    held[pid] = names
        return held


def _same_network(pid: int) -> bool:
    own, other = ((PROC / who / "ns" / "net").stat() for who in ("self", str(pid)))
    return os.path.samestat(own, other)


def _tuns(pid: int) -> Iterator[str]:
    for descriptor in (PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.stat().st_rdev != TUN_DEVICE:
                continue
            with (PROC / str(pid) / "fdinfo" / descriptor.name).open() as info:
                for line in info.read(MAX_INFO_BYTES).splitlines():
                    key, _, value = line.partition(":")
                    # A TUN that was opened but not attached to an interface yet has no name.
                    if key == "iff" and value.strip():
                        yield value.strip()
