"""msgspec's errors in the words of a configuration file: the key, then what was expected there."""

import re
from typing import Any

import msgspec
from msgspec import inspect

__all__ = ["explain"]

_WORDS = {
    "`object`": "a table",
    "`array` of length >= 1": "a list with at least one entry",
    "`array`": "a list",
    "`str`": "a string",
    "`bool`": "true or false",
    "`int`": "a whole number",
    "`float`": "a number",
    " | null": "",
    "enum value": "value",
}


def explain(error: str, raw: object, table: type[msgspec.Struct]) -> str:
    """Say an error in the words of the file.

    Args:
        error: msgspec's own words.
        raw: what the file has.
        table: what it was to be.

    Returns:
        The key, what was expected and what is there.

    Thread safety: any thread.
    """
    text, _, path = error.partition(" - at `$")
    path = path.strip("`.")
    if match := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", text):
        key = f"{path}.{match[2]}".strip(".")
        if match[1] == "missing required":
            return f"{key}: expected a value, the key is missing"
        return f"{key}: no such key; expected {', '.join(_keys(_found(path, raw, table)))}"
    if match := re.fullmatch(r"Invalid (?:enum )?value ('.*')", text):
        choices = " or ".join(map(repr, _choices(path, raw, table)))
        return f"{path}: expected {choices}, got {match[1]}"
    for name, word in _WORDS.items():
        text = text.replace(name, word)
    return f"{path or 'file'}: {text[:1].lower()}{text[1:]}"


def _found(path: str, raw: Any, table: type[msgspec.Struct]) -> inspect.Type:  # noqa: ANN401 - TOML
    """The type of what a path such as `peers[0]` leads to, as far as the file decides it."""
    return _one_of(*_walked(path, raw, table))


def _walked(path: str, raw: Any, table: type[msgspec.Struct]) -> tuple[inspect.Type, Any]:  # noqa: ANN401 - TOML
    """Any type that a path may lead to, and what is there."""
    kind: inspect.Type = inspect.type_info(table)
    for step in re.findall(r"[^.\[\]]+", path):
        kind = _one_of(kind, raw)
        if isinstance(kind, inspect.StructType):
            kind = next(field.type for field in kind.fields if field.encode_name == step)
            raw = raw[step]
        elif isinstance(kind, inspect.VarTupleType):
            kind = kind.item_type
            raw = raw[int(step)]
    return kind, raw


def _one_of(kind: inspect.Type, raw: Any) -> inspect.Type:  # noqa: ANN401 - TOML
    """Of several kinds of table, the one that the file says it is."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    tag = raw.get("type") if isinstance(raw, dict) else None
    return next((each for each in kinds if getattr(each, "tag", None) == tag), kinds[0])


def _keys(kind: inspect.Type) -> list[str]:
    if not isinstance(kind, inspect.StructType):
        return []
    return [*(["type"] if kind.tag else []), *(field.encode_name for field in kind.fields)]


def _choices(path: str, raw: object, table: type[msgspec.Struct]) -> list[object]:
    """What a key may be: one of some words, or of the types of a table."""
    owner, _, key = path.rpartition(".")
    if key == "type":
        tables, _ = _walked(owner, raw, table)
        if isinstance(tables, inspect.UnionType):
            return [each.tag for each in tables.types if isinstance(each, inspect.StructType)]
    kind = _found(path, raw, table)
    return list(kind.values) if isinstance(kind, inspect.LiteralType) else []
