"""The cffi build of `netlog._core`: the hand-written cdef, the C sources, the compiler's flags.

gcc and clang both accept these flags. A flag that only one of them supports is probed here.

Environment:
    CC: the compiler.
    NETLOG_WERROR: 1 turns warnings into errors; for developers of netlog.
    NETLOG_SANITIZE: `address` builds with AddressSanitizer and UBSan, `thread` with
        ThreadSanitizer.
    NETLOG_DEBUG: 1 builds without optimisation.
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
# Python's own flags contain -fwrapv or an equivalent, and clang warns about the flag that then has
# no effect. gcc ignores a -Wno- option that it does not know.
WARNINGS += ["-Wno-unused-command-line-argument"]
if os.environ.get("NETLOG_WERROR"):
    WARNINGS += ["-Werror"]
COMMON_FLAGS = ["-std=gnu11", "-fvisibility=hidden", "-fwrapv", *WARNINGS]


def compiler_command() -> list[str]:
    """The C compiler that setuptools uses."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def compile_flags() -> tuple[list[str], list[str]]:
    """The compiler's and the linker's flags, as the environment variables ask for them."""
    compiler = [*COMMON_FLAGS]
    # The code that cffi generates would cause these two warnings.
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
    """The paths relative to the project's root, sorted."""
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def sources() -> list[str]:
    """Every C file of the core."""
    apart = {CSRC / "preload", CSRC / "selftest"}
    return _listed(path for path in CSRC.glob("*/*.c") if path.parent not in apart)


def headers() -> list[str]:
    """Every header."""
    return _listed(CSRC.rglob("*.h"))


INCLUDES = ["csrc", "csrc/include"]
# The library is linked into any kind of program, shared objects too, and by any compiler.
LIBRARY_FLAGS = [*COMMON_FLAGS, "-O3", "-fPIC", "-g0"]


def library_sources() -> list[str]:
    """The C files behind `netlog.h`."""
    folders = ("table", "count", "meter")
    files = (path for folder in folders for path in CSRC.glob(f"{folder}/*.c"))
    return _listed([*files, CSRC / "packet" / "packet.c"])


def _can_optimize_at_link() -> bool:
    """Whether -flto links. clang needs a linker plugin for it, which is a separate package."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.c")
        source.touch()
        command = [*compiler_command(), "-shared", "-flto=auto", "-o", f"{folder}/empty.so"]
        tried = subprocess.run(  # noqa: S603 - runs the compiler that the build uses
            [*command, source], capture_output=True, check=False
        )
    return tried.returncode == 0


def preload_flags() -> tuple[list[str], list[str]]:
    """The compiler's and the linker's flags for the preload library.

    NETLOG_SANITIZE and NETLOG_DEBUG do not change them: the runtime of a sanitizer cannot be loaded
    into other people's programs. Without _FORTIFY_SOURCE, because a hook must call the plain
    function, not the checked one. The library is loaded when a program starts, so it may use the
    initial-exec model, which makes thread variables cheap.
    """
    compiler = [*COMMON_FLAGS, "-O3", "-g", "-U_FORTIFY_SOURCE", "-ftls-model=initial-exec"]
    # The program may contain a meter of its own. An empty NETLOG_API does not export the functions
    # of this one, so the two do not mix.
    compiler += ["-DNETLOG_API="]
    linker = ["-O3", "-Wl,--as-needed", "-Wl,-z,defs", "-Wl,-z,now"]
    # A hook runs through code of five files and may cost at most 15 ns, hence link-time
    # optimisation. Without SLP vectorisation, the address that it decodes stays in registers.
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
