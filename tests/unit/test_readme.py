"""README.md and docs: what they show is what happens."""

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import netlog
import netlog.sinks
import netlog.sources
import netlog.spool
from netlog.cli.commands import COMMANDS
from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.file import parse_config, parse_gateways
from netlog.config.node_file import NodeFile
from netlog.config.relay import RelayConfig
from netlog.devices.tap import TapCounters
from netlog.messages.sections import LeftOut
from netlog.preload.meter import Aside
from tests.support import ROOT

README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "docs" / "reference"
CONFIGURATION = (REFERENCE / "configuration.md").read_text()
FIGURES = ROOT / "docs" / "figures"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md")),
    *(ROOT / "docs").rglob("*.md"),
]
MAX_README_LINES = 150

GATEWAY = """
[node]
id = "a"
[tun]
name = "netlog0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:41641"
"""
"""What makes a part of a relay's configuration a whole one."""


def name_of(page: Path) -> str:
    """A page's path from the project's root."""
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(language: str) -> str:
    """The one code block of a language in the README."""
    (found,) = blocks(README, language)
    return found


def test_the_readme_is_short() -> None:
    """It is a front door; the docs are the house."""
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_example_prints_what_is_said() -> None:
    """The example is ten lines of code, runs as it is, and prints the line below it."""
    source = block("python")
    assert len([line for line in source.splitlines() if line]) == 10
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(source, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert shown.getvalue() == block("json")


def examples() -> Iterator[object]:
    """The programs of the pages that run without any rights."""
    for page in PAGES:
        found = re.findall(
            r"^<!-- run -->\n```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
        )
        for number, source in enumerate(found):
            yield pytest.param(source, id=f"{name_of(page)}-{number}")


@pytest.mark.parametrize("source", list(examples()))
def test_a_program_of_a_page_runs(source: str) -> None:
    """As it is, in a process of its own; what it asserts holds."""
    subprocess.run((sys.executable, "-c", source), check=True, timeout=60, capture_output=True)


def test_the_screenshot_is_what_fmt_prints() -> None:
    """The figure has the lines that `netlog fmt` prints of the messages beside it today."""
    words = ("netlog", "fmt", "--resolve", "name", "flows.jsonl")
    command = (sys.executable, "-m", *words)
    printed = subprocess.run(command, cwd=FIGURES, check=True, capture_output=True, text=True)
    lines: dict[float, str] = {}
    for text in ET.parse(FIGURES / "fmt.svg").iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - our own
        height = float(text.attrib["y"])
        lines[height] = lines.get(height, "") + (text.text or "").replace("\xa0", " ").rstrip("\n")
    drawn = [line.rstrip() for _, line in sorted(lines.items())]
    assert drawn == [f"$ {' '.join(words)}", *printed.stdout.splitlines()]


@every_page
def test_a_configuration_of_a_page_is_right(page: Path, tmp_path: Path) -> None:
    """Each block of TOML is a configuration, a part of one, or a file of nodes."""
    for text in blocks(page.read_text(), "toml"):
        tree = tomllib.loads(text)
        if "self" in tree:
            (tmp_path / "nodes.toml").write_text(text)
            NodeFile(tmp_path / "nodes.toml")
        elif tree.keys() == {"source"}:
            parse_config(f'{text}[tun]\nname = "wg0"\n', name_of(page), WatchConfig)
        elif tree.keys() <= {"sinks", "meter"}:
            parse_config(text + GATEWAY, name_of(page), RelayConfig)
        else:
            parse_gateways(text, name_of(page))


def commands(page: Path) -> Iterator[list[str]]:
    """Each `netlog ...` in a page's blocks of shell commands, as its words."""
    for text in blocks(page.read_text(), "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for start, word in enumerate(words):
                if word == "netlog" and (start == 0 or words[start - 1] in {"sudo", "|"}):
                    end = next(
                        (at for at in range(start, len(words)) if words[at] in {"|", "<", ">"}),
                        len(words),
                    )
                    yield words[start + 1 : end]


@every_page
def test_a_command_of_a_page_is_understood(page: Path) -> None:
    """Its options exist, and take what they are given."""
    parser = ArgumentParser(prog="netlog")
    subparsers = parser.add_subparsers()
    for name in COMMANDS:
        importlib.import_module(f"netlog.cli.{name}").add_parser(subparsers)
    for words in commands(page):
        assert callable(parser.parse_args(words).execute), words


def test_commands_are_found() -> None:
    """The test above has something to look at: these forms of commands, among others."""
    found = [words for page in PAGES for words in commands(page)]
    assert {words[0] for words in found} == set(COMMANDS)
    assert ["fmt", "--json", "--filter", "not node db"] in found
    assert ["fmt"] in found


def keys_of(kind: type[msgspec.Struct]) -> set[str]:
    """Every key of a table and of the tables in it."""
    keys = {field.encode_name for field in msgspec.structs.fields(kind)}
    info: Any = msgspec.inspect.type_info(kind)
    for each in info.fields:
        for table in tables_in(each.type):
            keys |= keys_of(table.cls)
    return keys


def tables_in(kind: msgspec.inspect.Type) -> list[msgspec.inspect.StructType]:
    """The tables that a type consists of, if any."""
    if isinstance(kind, msgspec.inspect.StructType):
        return [kind]
    parts = getattr(kind, "types", None) or [getattr(kind, "item_type", None)]
    return [table for part in parts if part is not None for table in tables_in(part)]


def test_the_page_of_the_configuration_has_every_key() -> None:
    """Its examples are right, and no key is missing from them."""
    relay, exec_, watch, several, nodes = blocks(CONFIGURATION, "toml")
    for example, kind in ((relay, RelayConfig), (exec_, ExecConfig), (watch, WatchConfig)):
        parse_config(example, "configuration.md", kind)
    assert len(parse_gateways(several, "configuration.md")) > 1
    assert {"peers", "spool_bytes", "header_env", "rotate_age_s"} < keys_of(RelayConfig)
    for key in keys_of(RelayConfig):
        assert re.search(rf"\b{key}\b", relay), key
    for kind in (ExecConfig, WatchConfig):
        for key in keys_of(kind) - keys_of(RelayConfig):
            assert re.search(rf"\b{key}\b", exec_ + watch), key
    for key in ("node_id", "name", "addresses", "os", "user", "tags"):
        assert re.search(rf"^{key} = ", nodes, re.MULTILINE)


def test_the_tables_of_the_configuration_have_every_key() -> None:
    """Beside each key stand its type and its meaning; the tables by themselves are named above."""
    rows = [line for line in CONFIGURATION.splitlines() if line.startswith("|")]
    tables = {"node", "nodes", "tun", "sock", "peers", "routes", "sinks", "socks", "source"}
    for kind in (RelayConfig, ExecConfig, WatchConfig):
        for key in keys_of(kind) - tables:
            assert any(f"`{key}`" in row for row in rows), key
    for name in tables:
        assert re.search(rf"`\[+{name}\]+`", CONFIGURATION), name


def test_the_file_of_nodes_is_right(tmp_path: Path) -> None:
    """The file of nodes that is shown can be used."""
    path = tmp_path / "nodes.toml"
    path.write_text(blocks(CONFIGURATION, "toml")[-1])
    known = NodeFile(path).snapshot()
    assert known.self_node is not None
    assert len(known.by_address) == 3


def test_the_page_of_the_counters_has_every_counter() -> None:
    """Each stands in a row of a table, with its unit and its meaning."""
    text = (REFERENCE / "counters.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for kind in (
        netlog.RelayCounters,
        netlog.LoggerCounters,
        netlog.sinks.SinkCounters,
        TapCounters,
        Aside,
        LeftOut,
    ):
        for name in kind.__dataclass_fields__:
            assert any(f"`{name}`" in row for row in rows), f"{kind.__name__}.{name}"


def test_the_page_of_the_python_api_has_every_name() -> None:
    """All public names, each once."""
    text = (REFERENCE / "python.md").read_text()
    found = re.findall(r"^::: netlog\.(?:\w+\.)?(\w+)$", text, re.MULTILINE)
    public = {
        name
        for module in (netlog, netlog.sinks, netlog.sources, netlog.spool)
        for name in module.__all__
    }
    assert set(found) == public - {"__version__"}
    assert len(found) == len(set(found))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every file that a page links to is there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
