"""The cffi build of `netlog._core`: the hand-written cdef, the C sources, the compiler's flags.

Environment: NETLOG_SANITIZE=address|thread builds with AddressSanitizer and UBSan, or with
ThreadSanitizer; NETLOG_DEBUG=1 builds without optimisation.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"

SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wmissing-prototypes", "-Wvla", "-Werror"]
COMMON_FLAGS = ["-std=gnu11", "-fvisibility=hidden", "-fno-strict-overflow", *WARNINGS]


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


# A sanitizer's runtime could not be loaded into other people's programs. What the hooks stand for
# must be the plain calls. The library is loaded at the start, so its thread variables are cheap.
PRELOAD_FLAGS = [*COMMON_FLAGS]
# The program may hold a meter of its own, whose functions these are not.
PRELOAD_FLAGS += ["-DNETLOG_API=", "-O3", "-g", "-U_FORTIFY_SOURCE", "-ftls-model=initial-exec"]
# A hook goes through five files, and is to cost less than 15 ns; what it makes of an address stays
# in registers.
PRELOAD_FLAGS += ["-flto=auto", "-fno-tree-slp-vectorize"]


def preload_sources() -> list[str]:
    """The C files of the preload library: its own, and those of the core that count."""
    own = _listed([*CSRC.glob("preload/*.c"), CSRC / "packet" / "frame.c"])
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
