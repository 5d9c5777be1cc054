"""What a wheel promises, checked in the wheel: its tag, its files, its static library."""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from process import WheelError, run
from targets import Target
from zig import ZIG

__all__ = ["audit"]

CORE = "netlog/_core.abi3.so"
PRELOAD = "netlog/_preload.abi3.so"
LIBRARY = "netlog/lib/libnetlog.a"
BROUGHT = {
    CORE,
    LIBRARY,
    "netlog/lib/pkgconfig/netlog.pc",
    "netlog/include/netlog.h",
}
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
FOREIGN_PREFIXES = ("__ubsan", "__asan", "__zig", "__cpu_")
"""Symbols of a runtime library that a user's compiler does not link."""
FOREIGN_SECTIONS = (".llvm.lto", ".gnu.lto_", ".llvmbc")
"""Code that only the compiler which wrote it can link."""


def audit(wheel: Path, target: Target) -> None:
    """Check a wheel that has its final name.

    Raises:
        WheelError: it is not what its name says; the text names the difference.
    """
    _check_tag(wheel, target)
    _check_files(wheel, target)
    _check_library(wheel, target)


def _check_tag(wheel: Path, target: Target) -> None:
    """Ask auditwheel which systems the symbols are of, without looking for libraries here."""
    command = (sys.executable, "-m", "auditwheel", "show", "--json", "--ldpaths", "/nonexistent")
    shown = run(*command, wheel)
    found = json.loads(shown)
    if not _is_at_least(found["overall_tag"], target.tag):
        raise WheelError(f"{wheel.name}: auditwheel finds {found['overall_tag']}: {shown}")


def _is_at_least(found: str, wanted: str) -> bool:
    """Whether a wheel of a tag runs wherever one of the wanted tag runs."""
    family, *version, machine = found.split("_", 3)
    wanted_family, *wanted_version, wanted_machine = wanted.split("_", 3)
    return (family, machine) == (wanted_family, wanted_machine) and list(map(int, version)) <= list(
        map(int, wanted_version)
    )


def _check_files(wheel: Path, target: Target) -> None:
    """The core and the C library; with glibc also what `netlog exec` loads into programs."""
    names = set(zipfile.ZipFile(wheel).namelist())
    if missing := BROUGHT - names:
        raise WheelError(f"{wheel.name}: without {', '.join(sorted(missing))}")
    if (PRELOAD in names) != (target.libc == "glibc"):
        raise WheelError(f"{wheel.name}: {PRELOAD}: expected with glibc only")


def _check_library(wheel: Path, target: Target) -> None:
    """Any compiler links the static library: plain objects that need the C library alone."""
    with tempfile.TemporaryDirectory() as folder:
        library = zipfile.ZipFile(wheel).extract(LIBRARY, folder)
        objects = Path(folder, "objects")
        objects.mkdir()
        run(ZIG, "ar", "x", library, folder=objects)
        members = sorted(objects.iterdir())
        if not members:
            raise WheelError(f"{wheel.name}: {LIBRARY}: empty")
        for member in members:
            if fault := _fault(member, target):
                raise WheelError(f"{wheel.name}: {LIBRARY}: {member.name}: {fault}")


def _fault(member: Path, target: Target) -> str:
    """Why a user's linker would not take an object; nothing if it does."""
    with member.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return "not an ELF object"
        elf = ELFFile(file)
        if elf["e_machine"] != MACHINES[target.machine]:
            return f"for {elf['e_machine']}"
        for section in elf.iter_sections():
            if section.name.startswith(FOREIGN_SECTIONS):
                return f"has {section.name}"
            if isinstance(section, SymbolTableSection):
                for symbol in section.iter_symbols():
                    if symbol.name.startswith(FOREIGN_PREFIXES):
                        return f"needs {symbol.name}"
    return ""
