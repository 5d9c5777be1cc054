"""Which programs the preload library can be loaded into."""

import itertools
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from netlog.errors import NotMeterableError
from netlog.preload.library import ADVICE, library_path

__all__ = ["find_program"]

MAX_INTERPRETERS = 5
"""How long a chain of scripts may be, each the interpreter of the one before. The kernel follows
fewer."""
MAX_LINE_BYTES = 256
"""How much of a script's first line is read: the kernel's BINPRM_BUF_SIZE."""

GO_SECTIONS = frozenset({".note.go.buildid", ".go.buildinfo"})
"""Source: src/debug/buildinfo of Go."""
MAX_HEADERS = 512
"""Read of each table of an ELF file. Linkers write some dozens; a damaged file can claim 2^64."""


class _Program(NamedTuple):
    """What an ELF file says about how it is loaded; a static program names no interpreter."""

    bits: int
    machine: str
    interpreter: str
    is_go: bool


def find_program(name: str) -> str:
    """Find a command as a shell would, and check that the library can be loaded into it.

    Args:
        name: a path, or a name to look for in PATH.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: there is no such program, or it may not be executed.
        NotMeterableError: the program is static, of another architecture, made by Go, or more
            privileged than this process; the text says what to do instead.

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


def _interpreter(path: str) -> str | None:
    """Return a script's interpreter; None: the file is not a script."""
    try:
        with Path(path).open("rb") as file:
            line = file.read(MAX_LINE_BYTES).partition(b"\n")[0]
    except PermissionError:
        return None
    words = line[2:].split()
    return os.fsdecode(words[0]) if line.startswith(b"#!") and words else None


def _obstacle(path: str) -> str:
    """Return why the library cannot be loaded into a program; "" if it can."""
    status = Path(path).stat()
    if os.geteuid() != 0 and (privilege := _privilege(path, status)):
        return f"the dynamic linker ignores LD_PRELOAD for a program with {privilege}"
    try:
        program = _read_program(path)
    except PermissionError:
        return ""  # the user may execute it but not read it: try to load the library
    if program is None:
        return "neither an ELF program nor a script"
    return _mismatch(program)


def _mismatch(program: _Program) -> str:
    own = _read_program(sys.executable)
    if program.is_go:
        return "a Go program calls the kernel without the C library"
    if not program.interpreter:
        return "a statically linked program loads no libraries"
    if own is not None and (program.bits, program.machine) != (own.bits, own.machine):
        return "the program is for another architecture than netlog"
    if "musl" in program.interpreter:
        return "the program uses another C library than netlog"
    return ""


def _read_program(path: str) -> _Program | None:
    """Read what says how a program is loaded; None: it is not an ELF file, or it is damaged."""
    # Imported only here: it loads a debugger, too, and takes 20 ms.
    from elftools.common.exceptions import ELFError  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.segments import InterpSegment, NoteSegment  # noqa: PLC0415

    with Path(path).open("rb") as file:
        try:
            elf = ELFFile(file)
            segments = list(itertools.islice(elf.iter_segments(), MAX_HEADERS))
            names = {each.name for each in itertools.islice(elf.iter_sections(), MAX_HEADERS)}
            asked = (s.get_interp_name() for s in segments if isinstance(s, InterpSegment))
            noted = (s.iter_notes() for s in segments if isinstance(s, NoteSegment))
            notes = itertools.islice(itertools.chain.from_iterable(noted), MAX_HEADERS)
            return _Program(
                elf.elfclass,
                str(elf["e_machine"]),
                next(asked, ""),
                not GO_SECTIONS.isdisjoint(names) or any(note["n_name"] == "Go" for note in notes),
            )
        except (ELFError, ValueError, OverflowError, OSError):
            return None  # OSError: the kernel refuses an offset that no file can have


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
