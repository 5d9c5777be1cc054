"""The preload library: which programs it can be loaded into, and how."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from netlog.elf import ElfFile
from netlog.errors import NotMeterableError

__all__ = ["METER_VARIABLE", "find_program", "library_path", "preload_environment"]

LIBRARY = "_preload.abi3.so"
METER_VARIABLE = "NETLOG_PRELOAD_METER"
ADVICE = "meter its interface with `netlog watch` instead"
MAX_INTERPRETERS = 5
"""Scripts whose interpreter is a script, and so on: more than the kernel follows."""
MAX_LINE_BYTES = 256
"""Of a script's first line: BINPRM_BUF_SIZE of the kernel."""
UNSAFE = frozenset(" :")
"""Characters that part the names in LD_PRELOAD."""


def library_path() -> str:
    """Where the library lies.

    Raises:
        NotMeterableError: it is missing; on a system without glibc it always is.

    Thread safety: any thread.
    """
    path = Path(__file__).with_name(LIBRARY)
    if not path.exists():
        if platform.libc_ver()[0] != "glibc":
            raise NotMeterableError(
                f"`netlog exec` hooks glibc, and this system has another C library: {ADVICE}"
            )
        raise NotMeterableError(f"{path}: netlog was built without its preload library; {ADVICE}")
    return str(path)


def find_program(name: str) -> str:
    """Find a command as a shell would, and see whether the library can be loaded into it.

    Args:
        name: a path, or what is looked for in PATH.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: there is no such program, or it may not be executed.
        NotMeterableError: it is static, of another architecture, made by Go, or more privileged
            than this process, or netlog has no library for this system; the text gives advice.

    Thread safety: any thread.
    """
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(2, "no such command", name)
    library_path()
    looked_at = path
    for _ in range(MAX_INTERPRETERS):
        interpreter = _interpreter(looked_at)
        if interpreter is None:
            break
        looked_at = interpreter
    why = _obstacle(looked_at)
    if why:
        raise NotMeterableError(f"{looked_at}: {why}; {ADVICE}")
    return path


def preload_environment(
    environment: Mapping[str, str],
    library: str,
    meter: str,
    ports: Sequence[int] = (),
    excluded: Sequence[str] = (),
) -> dict[str, str]:
    """The environment of a command that is to be metered.

    Args:
        environment: of this process.
        library: path of the library, without blanks and colons.
        meter: path of the meter's file.
        ports: of the sockets that are the tunnel's, at most 64; none: all.
        excluded: prefixes, at most 64: sockets that are connected there are none of the tunnel's.

    Returns:
        A copy, with the library behind those that are preloaded already.

    Raises:
        ValueError: the library's path can not stand in LD_PRELOAD.

    Thread safety: any thread.
    """
    if not UNSAFE.isdisjoint(library):
        raise ValueError(f"expected a path without blanks and colons, got {library!r}")
    others = environment.get("LD_PRELOAD", "")
    added = {
        "LD_PRELOAD": f"{others}:{library}" if others else library,
        METER_VARIABLE: meter,
        "NETLOG_PRELOAD_PORTS": ",".join(map(str, ports)),
        "NETLOG_PRELOAD_EXCLUDED": ",".join(excluded),
    }
    return {**environment, **added}


def _interpreter(path: str) -> str | None:
    """Who executes a script; None: it is none."""
    try:
        with Path(path).open("rb") as file:
            line = file.read(MAX_LINE_BYTES).partition(b"\n")[0]
    except PermissionError:
        return None
    words = line[2:].split()
    return os.fsdecode(words[0]) if line.startswith(b"#!") and words else None


def _obstacle(path: str) -> str:
    """Why the library can not be loaded into a program; nothing if it can."""
    status = Path(path).stat()
    if os.geteuid() != 0 and (privilege := _privilege(path, status)):
        return f"the dynamic linker loads no library of the user's into a program with {privilege}"
    try:
        program = ElfFile.read(path)
    except PermissionError:
        return ""  # whoever may execute it without reading it: it is tried
    if program is None:
        return "neither an ELF program nor a script"
    return _mismatch(program)


def _mismatch(program: ElfFile) -> str:
    own = ElfFile.read(sys.executable)
    if program.is_go:
        return "a Go program calls the kernel past the C library"
    if not program.interpreter:
        return "a program that is linked statically loads no library"
    if own is not None and (program.bits, program.machine) != (own.bits, own.machine):
        return "a program of another architecture than netlog's own"
    if "musl" in program.interpreter:
        return "a program of another C library than netlog's own"
    return ""


def _privilege(path: str, status: os.stat_result) -> str:
    if status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid():
        return "set-user-ID"
    if status.st_mode & stat.S_ISGID and status.st_gid != os.getegid():
        return "set-group-ID"
    try:
        os.getxattr(path, "security.capability")
    except OSError:
        return ""
    return "file capabilities"
