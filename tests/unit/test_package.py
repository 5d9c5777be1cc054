"""The package's names, and how little is imported before one is asked for."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import netlog
import netlog.sinks
import netlog.sources
import netlog.spool
from tests.support import ROOT

PACKAGES = pytest.mark.parametrize(
    "package", [netlog, netlog.sinks, netlog.sources], ids=lambda p: p.__name__
)


def said_to_mypy(package: ModuleType) -> dict[str, str]:
    """The home of each name, as a type checker sees it."""
    stub = Path(str(package.__file__)).with_suffix(".pyi")
    return {
        alias.name: f"{package.__name__}.{statement.module}"
        for statement in ast.parse(stub.read_text()).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def run(code: str) -> object:
    """Run code in a process of its own; what it printed, as JSON."""
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@PACKAGES
def test_what_is_listed_is_there(package: ModuleType) -> None:
    """Each public name is what its module defines, where a type checker thinks that it is."""
    homes = said_to_mypy(package)
    assert sorted(homes) == sorted(package.__all__)
    for name, home in homes.items():
        assert getattr(package, name) is getattr(sys.modules[home], name)
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize(
    "package",
    [netlog, netlog.sinks, netlog.sources, netlog.spool],
    ids=lambda package: package.__name__,
)
def test_a_type_checker_sees_each_name_used(package: ModuleType) -> None:
    """tests/typing/api.py has every public name, so that its type can not change unseen."""
    tree = ast.parse((ROOT / "tests" / "typing" / "api.py").read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert set(package.__all__) - {"__version__"} <= used


@PACKAGES
def test_star_import_has_all(package: ModuleType) -> None:
    """`from netlog import *` gives all of them, and nothing else."""
    names: dict[str, object] = {}
    exec(f"from {package.__name__} import *", names)  # noqa: S102 - the statement under test
    assert set(names) - {"__builtins__"} == set(package.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """It is what a module without the name says."""
    with pytest.raises(AttributeError, match="No netlog attribute Mter"):
        _ = netlog.Mter  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Mter'"):
        exec("from netlog import Mter", {})  # noqa: S102 - mypy would refuse it


def test_importing_the_package_imports_nothing_large() -> None:
    """Neither numpy nor the core, before a name that needs them; `dir` asks for none."""
    code = """
import json, sys, netlog
dir(netlog), netlog.ConfigError
before = [name in sys.modules for name in ("numpy", "msgspec", "netlog._core")]
netlog.Meter
print(json.dumps([before, "numpy" in sys.modules]))
"""
    assert run(code) == [[False, False, False], True]


def test_a_command_imports_what_it_needs() -> None:
    """`read` has numpy but neither its threads nor a gateway, and the environment is as it was."""
    code = """
import json, os, sys
from netlog.cli import main
before = dict(os.environ)
sys.stderr = open(os.devnull, "w")
status = main(["read", os.devnull])
loaded = [name in sys.modules for name in ("numpy", "pyroute2", "netlog.logger.logger", "tomllib")]
print(json.dumps([status, loaded, len(os.listdir("/proc/self/task")), os.environ == before]))
"""
    assert run(code) == [1, [True, False, False, False], 1, True]
