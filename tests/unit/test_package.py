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
from netlog.cli.commands import COMMANDS
from netlog.cli.fmt import RESOLVABLE
from netlog.fmt.names import Names
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
    """tests/typing/api.py has every public name, so that its type cannot change unseen."""
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


BLOCKED = """
import json, os, sys
sys.modules |= dict.fromkeys(("numpy", "netlog._core", "rich"))
"""
"""What begins a program on a machine where neither numpy nor the core can be imported."""

GATEWAYS = """
[[gateways]]
node.id = "relay"
max_message_bytes = 30000
nodes.file = "{folder}/nodes.json"
tun = {{ name = "t0", addresses = ["100.64.0.1/32"] }}
sock.listen = "192.0.2.1:41641"
[[gateways.peers]]
endpoint = "192.0.2.2:41641"
allowed_ips = ["100.64.0.2/32"]
[[gateways.sinks]]
type = "file"
path = "{folder}/flows.jsonl"
rotate_bytes = "1MiB"
compression = "zstd"
[[gateways.sinks]]
type = "http-json"
url = "http://localhost:1/in"
spool = "{folder}/spool"

[[gateways]]
type = "exec"
command = ["/bin/sh"]

[[gateways]]
type = "watch"
tun.name = "wg0"
source = {{ type = "wireguard", interface = "wg0" }}
"""


def test_check_needs_neither_numpy_nor_the_core(tmp_path: Path) -> None:
    """A configuration with every kind of gateway is checked where neither can be imported."""
    (tmp_path / "nodes.json").write_text('{"self": {"node_id": "n"}}')
    (tmp_path / "gateways.toml").write_text(GATEWAYS.format(folder=tmp_path))
    code = f"""{BLOCKED}
from netlog.cli import main
good = main(["check", {str(tmp_path / "gateways.toml")!r}])
text = open({str(tmp_path / "gateways.toml")!r}).read().replace("30000", "20000")
open({str(tmp_path / "wrong.toml")!r}, "w").write(text)
print(json.dumps([good, main(["check", {str(tmp_path / "wrong.toml")!r}])]))
"""
    assert run(code) == [0, 2]


def test_a_spool_needs_neither_numpy_nor_the_core(tmp_path: Path) -> None:
    """What is put in comes out again where neither can be imported."""
    code = f"""{BLOCKED}
from netlog.model.periods import PeriodId
from netlog.spool import Spool
for epoch, payload in enumerate((b"one", b"two")):
    spool = Spool({str(tmp_path / "spool")!r}, max_bytes=1 << 20)
    spool.begin(PeriodId(bytes(16), epoch))
    spool.append(payload, 1, 1)
    spool.commit()
    spool.close()
spool = Spool({str(tmp_path / "spool")!r}, max_bytes=1 << 20)
print(json.dumps([record.payload.decode() for record in spool.read(10, 1000)]))
"""
    assert run(code) == ["one", "two"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in ("fmt", "newid"))]
)
def test_help_needs_almost_nothing(arguments: list[str]) -> None:
    """The list of commands imports none of them; what a parser does not need is not loaded."""
    code = f"""{BLOCKED}
from netlog.cli import main
sys.stdout = open(os.devnull, "w")
try:
    main({arguments!r})
except SystemExit as error:
    status = error.code
loaded = [name for name in sys.modules if name.startswith(("netlog.", "msgspec", "logging"))]
sys.stdout = sys.__stdout__
print(json.dumps([status, [name for name in loaded if not name.startswith("netlog.cli")]]))
"""
    answer = run(code)
    assert isinstance(answer, list)
    status, loaded = answer
    assert status == 0
    assert "msgspec" not in loaded
    assert "logging" not in loaded
    assert not [name for name in loaded if name.startswith(("netlog.fmt", "netlog.gateways"))]


@pytest.mark.parametrize(
    ("command", "kind"), [("watch", "watch"), ("exec", "exec"), ("exec", "exec_metering")]
)
def test_a_watch_and_an_exec_load_no_relay(command: str, kind: str) -> None:
    """Nor pyroute2, which takes as long as all of netlog, nor what looks into programs."""
    code = f"""
import importlib, json, sys
importlib.import_module("netlog.cli.{command}")
importlib.import_module("netlog.gateways.{kind}")
names = ("pyroute2", "elftools", "rich", "urllib3", "netlog.relay.relay", "netlog.gateways.relay")
print(json.dumps([name for name in names if name in sys.modules]))
"""
    assert run(code) == []


def test_fmt_needs_neither_numpy_nor_the_core() -> None:
    """Nor msgspec before the first byte, nor what only other commands or options need."""
    log = ROOT / "docs" / "figures" / "flows.jsonl"
    code = f"""{BLOCKED}
from netlog.cli import main
names = ("msgspec", "logging", "netlog.fmt.expression", "netlog.model.nodes")
sys.stdout = open(os.devnull, "w")
empty = main(["fmt", "--total", os.devnull]), [name for name in names if name in sys.modules]
full = main(["fmt", "--total", {str(log)!r}]), [name for name in names if name in sys.modules]
sys.stdout = sys.__stdout__
print(json.dumps([empty, full]))
"""
    assert run(code) == [[0, []], [0, ["msgspec"]]]


def test_the_commands_are_those_of_the_modules() -> None:
    """Each has its line of help, and a module of its name; fmt's choices are its names."""
    folder = Path(str(netlog.__file__)).with_name("cli")
    found = [path.stem for path in folder.glob("*.py") if "def add_parser" in path.read_text()]
    assert sorted(found) == sorted(COMMANDS)
    assert {"address", *RESOLVABLE} == {names.value for names in Names}
