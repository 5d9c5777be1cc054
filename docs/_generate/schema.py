"""The members of a line, from the JSON Schema that is made from netlog's types."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from netlog.messages.schema import line_schema

__all__ = ["tables", "text"]

ORDER = ("Message", "Entry", "Node", "Loss", "Dropped", "Identity")


def text() -> str:
    """The schema, as wheels ship it."""
    return files("netlog.messages").joinpath("schema.json").read_text()


def tables() -> str:
    """A table for each kind of object, as Markdown."""
    definitions = line_schema()["$defs"]
    rows = (line for name in ORDER for line in _table(name, definitions[name]))
    return "\n".join(("[The schema as a file](line.schema.json).\n", *rows))


def _table(name: str, definition: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"{definition['description']}\n"
    yield "| member | type | always there | meaning |"
    yield "|---|---|---|---|"
    for member, schema in definition["properties"].items():
        always = "yes" if member in definition["required"] else ""
        said = (schema.get("title", ""), schema.get("description", ""))
        meaning = " ".join(filter(None, said)).replace("|", "\\|")
        yield f"| `{member}` | {_type(schema)} | {always} | {meaning} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        kind = str(reference).rpartition("/")[2]
        return f"[{kind}](#{kind.lower()})"
    if schema["type"] == "array":
        return f"array of {_type(schema['items'])}"
    if schema["type"] == "integer":
        most = schema.get("maximum")
        highest = "2^64-1" if most == 2**64 - 1 else most
        return "integer" if most is None else f"integer, {schema['minimum']} to {highest}"
    return str(schema["type"])
