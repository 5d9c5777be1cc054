"""`make test-wheels`: the wheels in dist/ are installed and used.

Each wheel for x86_64 is installed in an environment with nothing else in it: with glibc by this
Python, with musl by one that is built for musl. For aarch64 the core runs its C tests in an
emulator. For x86_64 it runs them, too: they cover what zig makes of the vector loops.
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from musl_python import musl_python
from process import WheelError
from selftests import run_selftests
from targets import Target
from trial import Environment, try_wheel

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
WORK = ROOT / "build" / "wheels"
STUBS = {"ssl.py": "SSLWantReadError = SSLSyscallError = OSError\n", "sqlite3.py": ""}
"""pyroute2 imports these modules of Python; netlog uses nothing of it that needs them."""
OLD_NUMPY = "numpy<2.2"
"""Later ones for musl need its release 1.2.4; Debian 12 has 1.2.3."""


def with_glibc() -> str:
    """This machine's C library and Python."""
    machine = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
    return try_wheel(Environment(Path(sys.executable), machine, "cc"), DIST, WORK / "try-glibc")


def with_musl() -> str:
    """Debian's musl, and a Python without OpenSSL and SQLite, which would take minutes to build."""
    stubs = WORK / "stubs"
    stubs.mkdir(parents=True, exist_ok=True)
    for name, text in STUBS.items():
        (stubs / name).write_text(text)
    environment = Environment(
        musl_python(WORK / "musl-python"),
        ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
        "musl-gcc",
        constraints=(OLD_NUMPY,),
        variables={"PYTHONPATH": str(stubs)},
        has_exec=False,
    )
    return try_wheel(environment, DIST, WORK / "try-musl")


def selftests(machine: Literal["x86_64", "aarch64"]) -> str:
    """The C tests for a processor."""
    return "\n".join(run_selftests(Target(machine, "musl"), WORK / f"selftest-{machine}"))


NEEDED = {
    "cc": "gcc",
    "musl-gcc": "musl-tools",
    "pkg-config": "pkg-config",
    "qemu-aarch64": "qemu-user",
}
"""Programs, and Debian's packages of them."""
TRIALS: dict[str, Callable[[], str]] = {
    "manylinux, x86_64": with_glibc,
    "musllinux, x86_64": with_musl,
    "C tests, x86_64": partial(selftests, "x86_64"),
    "C tests, aarch64": partial(selftests, "aarch64"),
}


def main() -> int:
    """Try everything; the exit status is 1 if something fails."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        packages = " ".join(NEEDED[program] for program in missing)
        sys.stderr.write(
            f"netlog: missing: {', '.join(missing)}; to get it: sudo apt install {packages}\n"
        )
        return 1
    for name, attempt in TRIALS.items():
        start = time.monotonic()
        try:
            said = attempt()
        except WheelError as error:
            sys.stderr.write(f"netlog: wheels: {name}: {error}\n")
            return 1
        sys.stdout.write(f"{name}: ok ({time.monotonic() - start:.0f} s)\n{said}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
