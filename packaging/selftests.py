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
NOT_EMULATED = {
    "adopt": "the emulator knows no PR_SET_CHILD_SUBREAPER",
    "crash": "the emulator executes no single steps",
    "flood": "the emulator's own memory grows",
}


def run_selftests(target: Target, folder: Path) -> list[str]:
    """Compile and run the tests.

    Args:
        target: with musl, which links programs statically: an emulator needs no libraries then.
        folder: for the compiler's script and the programs.

    Returns:
        What each test said, and which were left out.

    Raises:
        WheelError: one failed, or did not compile.
    """
    zig = Zig(target, folder)
    run(
        *("make", "-s", f"-j{os.cpu_count()}", "-C", ROOT / "csrc" / "selftest", "programs"),
        *(f"BUILD={folder}", f"CC={zig.compiler} -static", "CHECK_FLAGS=-O3"),
        environment=zig.environment(),
    )
    built = sorted((folder / "check").iterdir())
    programs = [path for path in built if path.is_file() and os.access(path, os.X_OK)]
    emulator: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    if target.machine != platform.machine():
        emulator = (f"qemu-{target.machine}",)
        left_out = NOT_EMULATED
    tried = [program for program in programs if program.name not in left_out]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(lambda program: run(*emulator, program).strip(), tried))
    return [*said, *(f"{name}: left out: {why}" for name, why in left_out.items())]
