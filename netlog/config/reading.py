"""Reads files strictly: an error names the file and the key, and says what was expected."""

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from netlog.config.values import decode
from netlog.errors import ConfigError

__all__ = ["convert", "read_text"]

Kind = TypeVar("Kind", bound=msgspec.Struct)

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


def read_text(path: str | Path) -> str:
    """Read a whole file as text.

    Raises:
        ConfigError: the file cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, but byte {error.start} is not") from error


def convert(
    tree: object,
    kind: type[Kind],
    origin: str,
) -> Kind:
    """Convert the tables, lists and values of a file to the types that they must have.

    Args:
        tree: the file's content.
        kind: a Struct. Its members may have the types that `netlog.config.values.decode` reads.
        origin: the name of the file in errors.

    Returns:
        An instance of `kind`.

    Raises:
        ConfigError: a key is unknown or missing, or a value has another type than it must have.
    """
    try:
        return msgspec.convert(tree, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error), tree, kind)}") from error


def _explain(error: str, raw: object, table: type[msgspec.Struct]) -> str:
    """Translate an error of msgspec into the terms of the file.

    Args:
        error: msgspec's text.
        raw: the content of the file.
        table: the type that the content should have.

    Returns:
        The key, what was expected, and what the file has.

    Thread safety: any thread.
    """
    text, _, path = error.partition(" - at `$")
    path = path.strip("`.")
    if match := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", text):
        key = f"{path}.{match[2]}".strip(".")
        if match[1] == "missing required":
            return f"{key}: expected a value, but the key is missing"
        return f"{key}: no such key; expected {', '.join(_keys(_found(path, raw, table)))}"
    if match := re.fullmatch(r"Invalid (?:enum )?value ('.*')", text):
        choices = " or ".join(map(repr, _choices(path, raw, table)))
        return f"{path}: expected {choices}, got {match[1]}"
    for name, word in _WORDS.items():
        text = text.replace(name, word)
    return f"{path or 'file'}: {text[:1].lower()}{text[1:]}"


def _found(path: str, raw: Any, table: type[msgspec.Struct]) -> inspect.Type:  # noqa: ANN401 - TOML
    """The type of the value at a path such as `peers[0]`; of a union, the one that the file has."""
    return _one_of(*_walked(path, raw, table))


def _walked(path: str, raw: Any, table: type[msgspec.Struct]) -> tuple[inspect.Type, Any]:  # noqa: ANN401 - TOML
    """The type of the value at a path, which may be a union, and the value."""
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
    """Of a union of tables, the one that the file names by its `type`; any other type as it is."""
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
    """The values that a key may have: certain words, or the types of a table."""
    owner, _, key = path.rpartition(".")
    if key == "type":
        tables, _ = _walked(owner, raw, table)
        if isinstance(tables, inspect.UnionType):
            return [each.tag for each in tables.types if isinstance(each, inspect.StructType)]
    kind = _found(path, raw, table)
    return list(kind.values) if isinstance(kind, inspect.LiteralType) else []
