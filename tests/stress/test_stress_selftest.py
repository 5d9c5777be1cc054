"""The C selftests, built plain; `.ci/run` runs them under the sanitizers too."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SELFTEST = ROOT / "csrc" / "selftest"
BUILT = ROOT / "build" / "selftest" / "tests"
PROGRAMS = sorted(path.stem.removeprefix("test_") for path in SELFTEST.glob("test_*.c"))

SHORT = {"crash": ("8",)}
"""Arguments for `make test`: most of what `crash` takes is the kernel, at every single step."""


@pytest.fixture(name="built", scope="session")
def _built() -> Path:
    """The folder of the programs. Tests that run beside this one wait until they are built."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make = ("make", "-s", f"-j{os.cpu_count()}", "-C", str(SELFTEST), f"BUILD={BUILT}")
        subprocess.run((*make, "programs"), check=True, timeout=600)
    return BUILT / "check"


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        *(pytest.param(name, SHORT.get(name, ()), id=name) for name in PROGRAMS),
        *(pytest.param(name, (), id=f"{name}, long", marks=pytest.mark.soak) for name in SHORT),
    ],
)
def test_selftest(built: Path, program: str, arguments: tuple[str, ...]) -> None:
    """Every selftest of the core ends with status 0, and leaves nothing out."""
    command = (str(built / program), *arguments)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{program}: ")
    assert "left out" not in ran.stdout
