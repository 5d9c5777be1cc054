"""The preload library: its path, and the environment that loads it into a program."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from netlog.errors import NotMeterableError

__all__ = ["ADVICE", "METER_VARIABLE", "library_path", "preload_environment"]

LIBRARY = "_preload.abi3.so"
METER_VARIABLE = "NETLOG_PRELOAD_METER"
ADVICE = "meter its interface with `netlog watch` instead"
UNSAFE = frozenset(" :")
"""Characters that separate the names in LD_PRELOAD."""


def library_path() -> str:
    """Return the library's path.

    Raises:
        NotMeterableError: it was not built, as on a system without glibc.

    Thread safety: any thread.
    """
    path = Path(__file__).parent.with_name(LIBRARY)
    if not path.exists():
        if platform.libc_ver()[0] != "glibc":
            raise NotMeterableError(
                f"`netlog exec` hooks glibc, and this system has another C library: {ADVICE}"
            )
        raise NotMeterableError(f"{path}: netlog was built without its preload library; {ADVICE}")
    return str(path)


def preload_environment(
    environment: Mapping[str, str],
    library: str,
    meter: str,
    ports: Sequence[int] = (),
    excluded: Sequence[str] = (),
) -> dict[str, str]:
    """Return the environment for a command that is to be metered.

    Args:
        environment: of this process.
        library: path of the library, without blanks and colons.
        meter: path of the meter's file.
        ports: of the sockets that belong to the tunnel, at most 64; empty: all belong to it.
        excluded: prefixes, at most 64; a socket connected to one does not belong to the tunnel.

    Returns:
        A copy, with the library after those that are preloaded already.

    Raises:
        ValueError: the library's path cannot be used in LD_PRELOAD.

    Thread safety: any thread.
    """
    if not UNSAFE.isdisjoint(library):
        raise ValueError(f"LD_PRELOAD: expected a path without blanks and colons, got {library!r}")
    others = environment.get("LD_PRELOAD", "")
    added = {
        "LD_PRELOAD": f"{others}:{library}" if others else library,
        METER_VARIABLE: meter,
        "NETLOG_PRELOAD_PORTS": ",".join(map(str, ports)),
        "NETLOG_PRELOAD_EXCLUDED": ",".join(excluded),
    }
    return {**environment, **added}
