"""The parts of the documentation that are made from the program: nothing is missing from them."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

from docs._generate import c_api, command_line, counters, schema
from netlog.cli.commands import COMMANDS
from netlog.messages.schema import line_schema

CSRC = Path(__file__).parents[2] / "csrc"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_there_with_all_its_arguments(command: str) -> None:
    """Under a heading of its own: usage, each argument, and an example to copy."""
    commands = argparse.ArgumentParser(prog="netlog").add_subparsers()
    importlib.import_module(f"netlog.cli.{command}").add_parser(commands)
    (section,) = re.findall(
        rf"^## netlog {command} .*?(?=^## |\Z)", command_line.page(), re.MULTILINE | re.DOTALL
    )
    assert f"```text\nnetlog {command} " in section
    assert re.search(rf"^```sh\n(.*\| )?(sudo )?netlog {command}\b", section, re.MULTILINE)
    for action in commands.choices[command]._actions:  # noqa: SLF001 - told nowhere else
        if action.dest != "help":
            names = action.option_strings or [str(action.metavar)]
            assert re.search(rf"^`[^`]*{re.escape(names[-1])}.*`\n:   \S", section, re.MULTILINE)


def test_every_c_declaration_is_there() -> None:
    """All functions, records and constants of the headers, and no noise of the compiler's."""
    page = c_api.page()
    headings = "\n".join(line for line in page.splitlines() if line.startswith("#"))
    text = next(CSRC.rglob("netlog.h")).read_text()
    calls = set(re.findall(r"^NETLOG_API [^;(]*?(netlog_\w+)\(", text, re.MULTILINE))
    records = set(re.findall(r"^(?:struct|enum) (netlog_\w+) \{", text, re.MULTILINE))
    assert len(calls) > 20
    assert len(records) > 5
    for name in calls | records | {"NETLOG_MAX_FLOWS", "netlog_flow", "netlog_connection"}:
        assert re.search(rf"^###.*\b{name}`", headings, re.MULTILINE), name
    for noise in ("#ifndef", "#include", 'extern "C"', "SPDX", "NETLOG_API "):
        assert noise not in page


def test_every_member_of_a_message_is_there() -> None:
    """In the table of its object, with a meaning wherever the schema has one."""
    tables = schema.tables()
    for name, definition in line_schema()["$defs"].items():
        (table,) = re.findall(rf"^### {name}\n(.*?)(?=^### |\Z)", tables, re.MULTILINE | re.DOTALL)
        for member, described in definition["properties"].items():
            (row,) = [line for line in table.splitlines() if line.startswith(f"| `{member}` ")]
            assert described.get("description", "").replace("|", "\\|") in row


@pytest.mark.parametrize("example", [counters.of_relay, counters.of_exec, counters.of_watch])
def test_counters_are_shown_as_they_are_printed(example) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Of the gateway, its logger and both sinks; each line with the name of the program."""
    fence, *lines, end = example().splitlines()
    assert (fence[:3], end) == ("```", "```")
    assert all(line.startswith("netlog: ") for line in lines)
    for part in ("seen at the tun", "/var/log/netlog/flows.jsonl: ", "https://"):
        assert any(line.startswith(f"netlog: {part}") for line in lines), part
