"""Compile the benches' C, with the core in it, as setup.py compiles the core."""

import hashlib
import platform
import subprocess
from pathlib import Path

from bench import BENCH, RESULTS
from netlog._build import CSRC, INCLUDES, ROOT, compile_flags, compiler_command, library_sources

# From the core: the meter, which is what counts and what the poller calls. From the benches:
# everything except programs/, whose sources are compiled to programs of their own.
SOURCES = [
    *sorted(BENCH.glob("*.c")),
    *(ROOT / path for path in library_sources()),
    CSRC / "python" / "span.c",
]
HEADERS = [BENCH / "bench.h", BENCH / "bench.cdef", *sorted(CSRC.glob("*/*.h"))]


def compiler_name() -> str:
    """Return the compiler, its major version and the processor, such as `gcc 12 x86_64`."""
    asked = "__clang_major__ __GNUC__"
    shown = subprocess.run(
        [*compiler_command(), "-E", "-P", "-x", "c", "-"],
        input=asked,
        check=True,
        capture_output=True,
        text=True,
    )
    clang, gcc = shown.stdout.split()[-2:]
    name = f"clang {clang}" if clang.isdecimal() else f"gcc {gcc}"
    return f"{name} {platform.machine()}"


def digest(*more: Path) -> str:
    """Names a build by all that goes into it, so that a stale one is never measured."""
    digest = hashlib.sha256(repr((compiler_command(), compile_flags())).encode())
    for path in [*SOURCES, *HEADERS, *more]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build_program(source: Path, *, with_core: bool) -> Path:
    """Compile one C program, alone or with the core and the benches' C.

    Args:
        source: its C file.
        with_core: whether to compile and link everything that the module contains, too.

    Returns:
        The path of the executable.
    """
    program = RESULTS / f"{source.stem}-{digest(source)}"
    if not program.exists():
        compiler, linker = compile_flags()
        sources = [source, *(SOURCES if with_core else [])]
        RESULTS.mkdir(exist_ok=True)
        subprocess.run(
            [
                *compiler_command(),
                *compiler,
                "-I",
                BENCH,
                *(f"-I{ROOT / folder}" for folder in INCLUDES),
                "-o",
                program,
                *sources,
                *linker,
                "-lpthread",
            ],
            check=True,
        )
    return program
