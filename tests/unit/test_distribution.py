"""What netlog tells a reader to install: the distribution's own name, and extras that exist."""

import ast
import re
import tomllib

from netlog.errors import MissingExtraError
from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "netlog").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

REQUIREMENT = re.compile(r"\b(netlog(?:-\w+)*)\[(\w+)\]")
"""A distribution of ours and an extra, as pip takes them."""


def is_installable(distribution: str, extra: str) -> bool:
    """Whether pip finds what it is asked for."""
    return distribution == PROJECT["name"] and extra in PROJECT["optional-dependencies"]


def test_requirements_in_texts_are_installable() -> None:
    """Each names this distribution, and an extra that it has."""
    texts = [*SOURCES, *PAGES]
    found = [
        (path.name, *named) for path in texts for named in REQUIREMENT.findall(path.read_text())
    ]
    assert found
    assert [one for one in found if not is_installable(*one[1:])] == []


def test_errors_name_extras_that_exist() -> None:
    """Every `MissingExtraError(what, extra)` of the sources, as its text has it."""
    calls = [
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingExtraError")
    ]
    assert len(calls) >= 2
    for call in calls:
        extra = ast.literal_eval(call.args[1])
        (named,) = REQUIREMENT.findall(str(MissingExtraError("this", extra)))
        assert is_installable(*named)
        assert named[1] == extra
