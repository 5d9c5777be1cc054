"""Files that are read strictly: what is wrong is told by file, key, and what was expected."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from netlog._values import decode
from netlog.errors import ConfigError

__all__ = ["convert", "read_text"]

Kind = TypeVar("Kind")

_WORDS = {
    "`object`": "a table",
    "`array` of length >= 1": "a list with at least one entry",
    "`array`": "a list",
    "`str`": "a string",
    "`bool`": "true or false",
    "`int`": "a whole number",
    "`float`": "a number",
    "enum value": "value",
}


def read_text(path: str | Path) -> str:
    """Read a whole file as text.

    Raises:
        ConfigError: it can not be read, or is no UTF-8.
    """
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, byte {error.start} is not") from error


def convert(
    tree: Any,  # noqa: ANN401 - whatever the file has
    kind: type[Kind],
    origin: str,
    known_keys: Callable[[str], Iterable[str]],
    choices: Callable[[str], Sequence[str]] = lambda _path: (),
) -> Kind:
    """Read the tables, lists and values of a file as what they must be.

    Args:
        tree: the file's content.
        kind: a Struct, of values that `netlog._values.decode` knows and others.
        origin: what error messages call the file.
        known_keys: the keys of the table at a path such as `peers[0]`.
        choices: the values that the key at a path can have, where there are few.

    Returns:
        An instance of `kind`.

    Raises:
        ConfigError: something is wrong.
    """
    try:
        return msgspec.convert(tree, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error), known_keys, choices)}") from error


def _explain(
    error: str,
    known_keys: Callable[[str], Iterable[str]],
    choices: Callable[[str], Sequence[str]],
) -> str:
    """Say msgspec's error in the words of the file: the key, then what was expected."""
    text, _, path = error.partition(" - at `$")
    path = path.strip("`.")
    if match := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", text):
        key = f"{path}.{match[2]}".strip(".")
        if match[1] == "missing required":
            return f"{key}: expected a value, the key is missing"
        return f"{key}: no such key; expected {', '.join(known_keys(path))}"
    if match := re.fullmatch(r"Invalid (?:enum )?value ('.*')", text):
        return f"{path}: expected {' or '.join(map(repr, choices(path)))}, got {match[1]}"
    for name, word in _WORDS.items():
        text = text.replace(name, word)
    return f"{path or 'file'}: {text[:1].lower()}{text[1:]}"
