"""A CPython for musl: no registry has one, so it is built, from Debian's sources.

It is linked dynamically, by Debian's musl-gcc, and runs on the musl that Debian has. It has what
netlog and its dependencies import: zlib and libffi are linked in, OpenSSL is not.
"""

import os
import shutil
from pathlib import Path

from debian import DebianSources
from process import run

__all__ = ["musl_python"]

VERSIONS = ("python3.11", "python3.12", "python3.13", "python3.14")

# Debian's musl-gcc has no headers of the kernel; CPython's build asks for the triplet.
COMPILER = """\
#!/bin/sh
case $* in *-print-multiarch) echo x86_64-linux-musl; exit ;; esac
exec musl-gcc "$@" -idirafter {kernel}
"""
KERNEL_HEADERS = {
    "linux": "/usr/include/linux",
    "asm-generic": "/usr/include/asm-generic",
    "asm": "/usr/include/x86_64-linux-gnu/asm",
}
# Neither netlog nor what it depends on imports them, and they take half of the time.
LEFT_OUT = (
    *("_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw"),
    *("_bz2", "_crypt", "_curses", "_curses_panel", "_dbm", "_decimal", "_elementtree", "_gdbm"),
    *("_lsprof", "_lzma", "_multibytecodec", "_sqlite3", "_tkinter", "_uuid", "audioop", "nis"),
    *("ossaudiodev", "readline", "spwd", "xxlimited", "xxlimited_35"),
)


def musl_python(folder: Path) -> Path:
    """Build the interpreter, unless it was built before.

    Args:
        folder: of its sources, and of what is installed.

    Returns:
        The interpreter's path.

    Raises:
        WheelError: a source is not available, or does not build.
    """
    built = folder / "built"
    if not built.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _build(folder, folder / "installed")
        built.touch()
    return folder / "installed" / "bin" / "python3"


def _build(folder: Path, prefix: Path) -> None:
    """Build and install the libraries, then CPython with them."""
    environment = {**os.environ, "CC": _compiler(folder), "CFLAGS": "-O1 -g0 -fPIC"}
    # From 3.12 on, configure takes the libraries from these; before, from -I and -L.
    for library, name in (("LIBFFI", "ffi"), ("ZLIB", "z")):
        environment[f"{library}_CFLAGS"] = f"-I{prefix}/include"
        environment[f"{library}_LIBS"] = f"-L{prefix}/lib -l{name}"
    sources = DebianSources(folder / "sources")

    def build(source: Path, *configuration: str) -> None:
        """The usual three steps."""
        run(
            "./configure",
            f"--prefix={prefix}",
            *configuration,
            folder=source,
            environment=environment,
        )
        run("make", "-s", f"-j{os.cpu_count()}", folder=source, environment=environment)
        run("make", "-s", "install", folder=source, environment=environment)

    build(sources.unpack("zlib"), "--static")
    build(
        sources.unpack("libffi"),
        *("--build=x86_64-linux-musl", "--disable-shared", "--disable-docs"),
        *("--disable-multi-os-directory", "--disable-exec-static-tramp"),
    )
    python = sources.unpack(sources.first_of(VERSIONS))
    (python / "Modules" / "Setup.local").write_text("\n".join(("*disabled*", *LEFT_OUT, "")))
    build(
        python,
        *("--build=x86_64-linux-musl", "--without-ensurepip", "--disable-test-modules"),
        *(f"CPPFLAGS=-I{prefix}/include", f"LDFLAGS=-L{prefix}/lib"),
    )


def _compiler(folder: Path) -> str:
    kernel = folder / "kernel"
    kernel.mkdir(parents=True)
    for name, place in KERNEL_HEADERS.items():
        (kernel / name).symlink_to(place)
    compiler = folder / "cc"
    compiler.write_text(COMPILER.format(kernel=kernel))
    compiler.chmod(0o755)
    return str(compiler)
