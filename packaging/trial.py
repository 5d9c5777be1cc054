"""A wheel, installed in an empty environment and used there."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from process import WheelError, run

__all__ = ["Environment", "try_wheel"]

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = "netlog-flows"
COUNT = """
import importlib.metadata, netlog
meter = netlog.Meter()
meter.update_tx(b"")
meter.extract()
assert meter.unattributed.packets == 1
assert netlog.__version__ == importlib.metadata.version("netlog-flows")
print(netlog.__path__[0])
"""


@dataclass(frozen=True)
class Environment:
    """Where a wheel is tried."""

    python: Path
    """An interpreter with the modules venv and ensurepip."""
    platforms: tuple[str, ...]
    """The tags of wheels that it takes, the best first."""
    compiler: str
    """A C compiler of the system that it stands for."""
    constraints: tuple[str, ...] = ()
    """Of the versions of dependencies."""
    variables: dict[str, str] = field(default_factory=dict)
    has_exec: bool = True


def try_wheel(environment: Environment, wheels: Path, folder: Path) -> str:
    """Install the wheel that pip takes there; count, run the demo, build a C program.

    Args:
        environment: where.
        wheels: the folder with the wheels of all platforms.
        folder: for the environment; what was in it goes.

    Returns:
        The demo's last line.

    Raises:
        WheelError: something failed, or was not as it should be.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _install(environment, wheels, folder)
    variables = {**os.environ, **environment.variables}
    programs = folder / "venv" / "bin"

    def call(program: str, *arguments: object) -> str:
        return run(programs / program, *arguments, folder=folder, environment=variables)

    package = Path(call("python", "-c", COUNT).strip())
    if not package.is_relative_to(folder):
        raise WheelError(f"{package}: not the one that was installed")
    demo = call("netlog", "demo", "--seconds", "1")
    _try_exec(environment, lambda: call("netlog", "exec", "--output", "exec.jsonl", "--", "true"))
    _try_library(environment.compiler, package, folder)
    return demo.splitlines()[-1]


def _install(environment: Environment, wheels: Path, folder: Path) -> None:
    """In two steps: pip of the environment may have no TLS, and must find this wheel alone."""
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    platforms = [f"--platform={platform}" for platform in (*environment.platforms, "any")]
    version = run(environment.python, "-c", "import sys; print(*sys.version_info[:2], sep='.')")
    found = ("--find-links", wheels, DISTRIBUTION, *environment.constraints)
    run(
        *(sys.executable, *pip, "download", "--only-binary=:all:", "--dest", folder / "wheels"),
        *(*platforms, "--python-version", version.strip(), *found),
    )
    run(environment.python, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    run(python, *pip, "install", "--no-index", "--find-links", folder / "wheels", *found)


def _try_exec(environment: Environment, call: Callable[[], str]) -> None:
    """`netlog exec` runs a command, or says why it cannot."""
    try:
        call()
    except WheelError as error:
        if environment.has_exec or "another C library" not in str(error):
            raise
    else:
        if not environment.has_exec:
            raise WheelError("netlog exec: expected to be refused")


def _try_library(compiler: str, package: Path, folder: Path) -> None:
    """The program of docs/start/c.md, by the wheel's own header, library and pkg-config file."""
    page = (ROOT / "docs" / "start" / "c.md").read_text()
    blocks = dict(re.findall(r"^```(c|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    (folder / "gateway.c").write_text(blocks["c"])
    variables = os.environ | {"PKG_CONFIG_PATH": str(package / "lib" / "pkgconfig")}
    options = run("pkg-config", "--cflags", "--libs", "netlog", environment=variables).split()
    run(compiler, "-O2", "gateway.c", *options, "-o", "gateway", folder=folder)
    said = run(folder / "gateway")
    if said != blocks["text"]:
        raise WheelError(f"the program of docs/start/c.md printed {said!r}")
