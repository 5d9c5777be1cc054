"""The cffi build of `netlog._core`: the hand-written cdef, the C sources, the compiler's flags.

gcc and clang take these flags; what only one of them knows is probed here.

Environment: CC is the compiler; NETLOG_WERROR=1 makes its warnings errors, which is for those who
change the code; NETLOG_SANITIZE=address|thread builds with AddressSanitizer and UBSan, or with
ThreadSanitizer; NETLOG_DEBUG=1 builds without optimisation.
"""

import os
import shlex
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wmissing-prototypes", "-Wvla", "-Wconversion"]
# Python's own flags say the same as -fwrapv in one or another way, and clang warns of the flag that
# then has no effect. gcc ignores a -Wno- that it does not know.
WARNINGS += ["-Wno-unused-command-line-argument"]
if os.environ.get("NETLOG_WERROR"):
    WARNINGS += ["-Werror"]
COMMON_FLAGS = ["-std=gnu11", "-fvisibility=hidden", "-fwrapv", *WARNINGS]


def compiler_command() -> list[str]:
    """The C compiler that setuptools uses."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def compile_flags() -> tuple[list[str], list[str]]:
    """The compiler's and the linker's flags that the environment asks for."""
    compiler = [*COMMON_FLAGS]
    # The module that cffi generates is not ours to keep free of these.
    compiler += ["-Wno-missing-prototypes", "-Wno-unused-parameter"]
    compiler += ["-O0", "-g3"] if os.environ.get("NETLOG_DEBUG") else ["-O3", "-g"]
    linker: list[str] = []
    if sanitizer := os.environ.get("NETLOG_SANITIZE"):
        if sanitizer not in SANITIZERS:
            raise SystemExit(f"NETLOG_SANITIZE={sanitizer}: expected address or thread")
        compiler += ["-fno-omit-frame-pointer", *SANITIZERS[sanitizer]]
        linker += SANITIZERS[sanitizer]
    return compiler, linker


def _listed(paths: Iterable[Path]) -> list[str]:
    """Files as paths relative to the project's root."""
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def sources() -> list[str]:
    """Every C file of the core."""
    apart = {CSRC / "preload", CSRC / "selftest"}
    return _listed(path for path in CSRC.glob("*/*.c") if path.parent not in apart)


def headers() -> list[str]:
    """Every header."""
    return _listed(CSRC.rglob("*.h"))


INCLUDES = ["csrc", "csrc/include"]
# Into programs of any kind, also those that are shared objects, by whatever compiler links them.
LIBRARY_FLAGS = [*COMMON_FLAGS, "-O3", "-fPIC", "-g0"]


def library_sources() -> list[str]:
    """The C files behind `netlog.h`."""
    folders = ("table", "count", "meter")
    files = (path for folder in folders for path in CSRC.glob(f"{folder}/*.c"))
    return _listed([*files, CSRC / "packet" / "packet.c"])


def _can_optimize_at_link() -> bool:
    """Whether -flto links: clang's needs a plugin of the linker, which is a package of its own."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.c")
        source.touch()
        command = [*compiler_command(), "-shared", "-flto=auto", "-o", f"{folder}/empty.so"]
        tried = subprocess.run(  # noqa: S603 - the compiler that is to be used
            [*command, source], capture_output=True, check=False
        )
    return tried.returncode == 0


def preload_flags() -> tuple[list[str], list[str]]:
    """The compiler's and the linker's flags for the preload library, whatever the environment.

    A sanitizer's runtime could not be loaded into other people's programs. What the hooks stand for
    must be the plain calls. The library is loaded at the start, so its thread variables are cheap.
    """
    compiler = [*COMMON_FLAGS, "-O3", "-g", "-U_FORTIFY_SOURCE", "-ftls-model=initial-exec"]
    # The program may hold a meter of its own, whose functions these are not.
    compiler += ["-DNETLOG_API="]
    linker = ["-O3", "-Wl,--as-needed", "-Wl,-z,defs", "-Wl,-z,now"]
    # A hook goes through five files, and is to cost less than 15 ns; what it makes of an address
    # stays in registers.
    compiler += ["-fno-tree-slp-vectorize"]
    if _can_optimize_at_link():
        compiler += ["-flto=auto"]
        linker += ["-flto=auto"]
    return compiler, linker


def preload_sources() -> list[str]:
    """The C files of the preload library: its own, and those of the core that count."""
    frames = (CSRC / "packet" / name for name in ("frame.c", "links.c"))
    own = _listed([*CSRC.glob("preload/*.c"), *frames])
    return sorted([*library_sources(), *own])


ffi = FFI()
ffi.cdef((CSRC / "python" / "netlog.cdef").read_text())
_compiler, _linker = compile_flags()
ffi.set_source(
    "netlog._core",
    '#include "python/core.h"',
    sources=sources(),
    include_dirs=INCLUDES,
    depends=headers(),
    extra_compile_args=_compiler,
    extra_link_args=_linker,
    libraries=["pthread"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
