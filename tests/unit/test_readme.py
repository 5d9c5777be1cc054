"""README.md: what it shows is what happens."""

import contextlib
import io
import re
from pathlib import Path

from netlog.config import parse_config

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(language: str) -> str:
    """The one code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


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
    parse_config(text, "README.md")
    for key in ("mtu", "name", "subnets", "default", "max_flows", "exit_traffic", "poll_period_s"):
        assert re.search(rf"^{key} = ", text, re.MULTILINE)
