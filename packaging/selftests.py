"""The core's C tests, compiled as wheels are; those for another processor run in an emulator."""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from process import run
from targets import Target
from zig import Zig

__all__ = ["run_selftests"]

ROOT = Path(__file__).resolve().parent.parent


def run_selftests(target: Target, folder: Path) -> list[str]:
    """Compile and run the tests.

    Args:
        target: with musl, which links programs statically: an emulator needs no libraries then.
        folder: for the compiler's script and the programs.

    Returns:
        What each test said, what it left out included.

    Raises:
        WheelError: one failed, or did not compile.
    """
    zig = Zig(target, folder)
    emulated = target.machine != platform.machine()
    flags = "-O3 -DEMULATED" if emulated else "-O3"
    run(
        *("make", "-s", f"-j{os.cpu_count()}", "-C", ROOT / "csrc" / "selftest", "programs"),
        *(f"BUILD={folder}", f"CC={zig.compiler} -static", f"CHECK_FLAGS={flags}"),
        environment=zig.environment(),
    )
    built = sorted((folder / "check").iterdir())
    programs = [path for path in built if path.is_file() and os.access(path, os.X_OK)]
    emulator = (f"qemu-{target.machine}",) if emulated else ()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda program: run(*emulator, program).strip(), programs))
