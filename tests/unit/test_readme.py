"""README.md and docs: what they show is what happens."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import msgspec

from netlog.config import parse_config, parse_gateways
from netlog.exec_config import ExecConfig
from netlog.node_file import NodeFile
from netlog.relay_config import RelayConfig
from netlog.watch_config import WatchConfig
from tests.support import ROOT

README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def block(language: str) -> str:
    """The one code block of a language in the README."""
    (found,) = blocks(README, language)
    return found


def test_the_example_prints_what_is_said() -> None:
    """The example is ten lines of code, runs as it is, and prints the line below it."""
    source = block("python")
    assert len([line for line in source.splitlines() if line]) == 10
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(source, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert shown.getvalue() == block("json")


def test_the_configuration_is_right() -> None:
    """The configuration that is shown can be used, and has every key that there is."""
    text = block("toml")
    parse_config(text, "README.md", RelayConfig)
    for key in ("mtu", "name", "subnets", "default", "max_flows", "exit_traffic", "poll_period_s"):
        assert re.search(rf"^{key} = ", text, re.MULTILINE)


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
    """Its example is right, and no key is missing from the page."""
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


def test_the_file_of_nodes_is_right(tmp_path: Path) -> None:
    """The file of nodes that is shown can be used."""
    path = tmp_path / "nodes.toml"
    path.write_text(blocks(CONFIGURATION, "toml")[-1])
    known = NodeFile(path).snapshot()
    assert known.self_node is not None
    assert len(known.by_address) == 3


def test_links_lead_somewhere() -> None:
    """Every file that a page links to is there."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
