"""MkDocs hooks: put generated parts into pages, and keep the site off the network.

A page has a pair of comments around what a reader sees where the site is not built:

    <!-- generated: NAME -->
    ...
    <!-- /generated -->

What stands between them is replaced by what the generator of that name returns.
"""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs._generate import c_api, command_line, counters, schema

ROOT = Path(__file__).resolve().parents[2]


def bench() -> str:
    """The page of the benches, which stands beside them; its links lead from here."""
    return (ROOT / "bench" / "README.md").read_text().replace("](../docs/", "](../")


GENERATORS: dict[str, Callable[[], str]] = {
    "bench": bench,
    "command line": command_line.page,
    "C API": c_api.page,
    "schema": schema.tables,
    "counters of run": counters.of_relay,
    "counters of exec": counters.of_exec,
    "counters of watch": counters.of_watch,
}
GENERATED = re.compile(
    r"^<!-- generated: (?P<name>[^>]+) -->$.*?^<!-- /generated -->$", re.MULTILINE | re.DOTALL
)
SCHEMA_FILE = "reference/line.schema.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the schema as a file of the site."""
    files.append(File.generated(config, SCHEMA_FILE, content=schema.text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:  # noqa: ANN401 - MkDocs' own
    """Replace the generated parts of a page."""

    def generated(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in GENERATORS:
            raise PluginError(f"{page.file.src_uri}: nothing generates {name!r}")
        return GENERATORS[name]()

    return GENERATED.sub(generated, markdown)


def on_post_page(output: str, page: Page, **_: Any) -> str:  # noqa: ANN401 - MkDocs' own
    """Refuse a page that would load something from another host."""
    loads = _Loads()
    loads.feed(output)
    if loads.remote:
        raise PluginError(f"{page.file.src_uri}: would load {', '.join(sorted(loads.remote))}")
    return output


def on_post_build(config: MkDocsConfig, **_: Any) -> None:  # noqa: ANN401 - MkDocs' own
    """Refuse a style sheet or a figure that would load something from another host."""
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix in {".css", ".svg"} and re.search(
            r"""(@import\s+|url\()\s*["']?(https?:)?//""", path.read_text()
        ):
            raise PluginError(f"{path}: would load something from another host")


class _Loads(HTMLParser):
    """What a page makes a browser load from other hosts; a link that a reader follows is not."""

    LOADED = (("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"))

    def __init__(self) -> None:
        super().__init__()
        self.remote: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for loading, name in self.LOADED:
            target = values.get(name) or ""
            if tag == loading and re.match(r"(https?:)?//", target):
                self.remote.add(target)
