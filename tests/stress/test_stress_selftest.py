"""The C selftests, built plain; `.ci/run` runs them under the sanitizers too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SELFTEST = Path(__file__).resolve().parents[2] / "csrc" / "selftest"
PROGRAMS = re.findall(r"^PROGRAMS := (.*)$", (SELFTEST / "Makefile").read_text(), re.MULTILINE)[
    0
].split()


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("program", PROGRAMS)
def test_selftest(program: str) -> None:
    """Every selftest of the core ends with status 0."""
    make = ["make", "-s", f"-j{os.cpu_count()}", "-C", str(SELFTEST), f"run-{program}"]
    ran = subprocess.run(make, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{program}: ")
