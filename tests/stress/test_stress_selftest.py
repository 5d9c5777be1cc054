"""The C selftests, built plain; `.ci/run` runs them under the sanitizers too."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SELFTEST = ROOT / "csrc" / "selftest"
BUILT = ROOT / "build" / "selftest" / "check"
PROGRAMS = re.findall(r"^PROGRAMS := (.*)$", (SELFTEST / "Makefile").read_text(), re.MULTILINE)[
    0
].split()

SHORT = {"crash": ("8",)}
"""Arguments for `make test`: most of what `crash` takes is the kernel, at every single step."""


@pytest.fixture(name="built", scope="session")
def _built() -> Path:
    """The folder of the programs. Tests that run beside this one wait until they are built."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make = ("make", "-s", f"-j{os.cpu_count()}", "-C", str(SELFTEST))
        goals = [f"../../build/selftest/check/{program}" for program in PROGRAMS]
        subprocess.run((*make, *goals), check=True, timeout=300)
    return BUILT


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        *(pytest.param(name, SHORT.get(name, ()), id=name) for name in PROGRAMS),
        *(pytest.param(name, (), id=f"{name}, long", marks=pytest.mark.soak) for name in SHORT),
    ],
)
def test_selftest(built: Path, program: str, arguments: tuple[str, ...]) -> None:
    """Every selftest of the core ends with status 0."""
    command = (str(built / program), *arguments)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{program}: ")
