"""The C library that wheels bring, as its page says to use it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

PAGE = (ROOT / "docs" / "start" / "c.md").read_text()
BUILD_S = 300


def block(language: str) -> str:
    """The page's one code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(name="package", scope="module")
def _package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's folder, with the library in it."""
    folder = tmp_path_factory.mktemp("built")
    command = (sys.executable, "setup.py", "-q", "build_library", "-b", folder, "-t", folder)
    subprocess.run(command, cwd=ROOT, check=True, timeout=BUILD_S)
    return folder / "netlog"


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="needs pkg-config")
@pytest.mark.parametrize("folder", ["where it was built", "elsewhere"])
def test_the_program_prints_what_is_said(package: Path, tmp_path: Path, folder: str) -> None:
    """It is compiled as the page says, wherever the wheel was unpacked."""
    if folder == "elsewhere":
        package = shutil.copytree(package, tmp_path / "a path" / "netlog")
    (tmp_path / "gateway.c").write_text(block("c"))
    config = subprocess.run(
        ("pkg-config", "--cflags", "--libs", "netlog"),
        env=os.environ | {"PKG_CONFIG_PATH": str(package / "lib" / "pkgconfig")},
        capture_output=True,
        text=True,
        check=True,
    )
    command = ("cc", "-O2", "-Wall", "-Wextra", "-Werror", "gateway.c", "-o", "gateway")
    options = shlex.split(config.stdout)
    subprocess.run((*command, *options), cwd=tmp_path, check=True, timeout=BUILD_S)
    ran = subprocess.run(
        (str(tmp_path / "gateway"),), capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == block("text")


def test_every_call_is_in_the_library(package: Path) -> None:
    """All that netlog.h declares can be linked, and nothing is missing of what that needs."""
    declared = set(re.findall(r"\b(netlog_\w+)\(", (package / "include" / "netlog.h").read_text()))
    listed = subprocess.run(
        ("nm", str(package / "lib" / "libnetlog.a")), capture_output=True, text=True, check=True
    ).stdout
    defined = set(re.findall(r" [TDRB] (netlog_\w+)$", listed, re.MULTILINE))
    wanted = set(re.findall(r" U (netlog_\w+)$", listed, re.MULTILINE))
    assert len(declared) > 20
    assert declared | wanted <= defined
