"""The C selftests, built plain; `.ci/run` runs them under the sanitizers too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.support import ROOT

SELFTEST = ROOT / "csrc" / "selftest"
PROGRAMS = re.findall(r"^PROGRAMS := (.*)$", (SELFTEST / "Makefile").read_text(), re.MULTILINE)[
    0
].split()


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("program", PROGRAMS)
def test_selftest(program: str) -> None:
    """Every selftest of the core ends with status 0."""
    built = SELFTEST.parent.parent / "build" / "selftest" / "check" / program
    make = ["make", "-s", f"-j{os.cpu_count()}", "-C", str(SELFTEST)]
    subprocess.run([*make, f"../../build/selftest/check/{program}"], check=True, timeout=300)
    ran = subprocess.run([str(built)], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{program}: ")
