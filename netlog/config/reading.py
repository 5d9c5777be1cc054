"""Reads files strictly: an error names the file and the key, and says what was expected."""

import itertools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from netlog.config.every_error import every_error
from netlog.config.values import decode
from netlog.errors import ConfigError

__all__ = ["all_errors", "convert", "parse_toml", "read_text"]

Kind = TypeVar("Kind", bound=msgspec.Struct)

MAX_ERRORS = 100
"""More than anybody corrects at once."""
INTEGER_BITS = 63
"""Of a number in TOML, less its sign."""

# msgspec says what is wrong in one line of text, which is taken apart here. pydantic reports the
# parts of an error, but its words would need a table like this one, too. To load it and to build
# these tables takes 110 ms of CPU time more, on a start of 70 ms: too much for `exec` and `watch`.
_WORDS = {
    " | null": "",
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
        ConfigError: the file cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, but byte {error.start} is not") from error


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """Read the text of a TOML file.

    Args:
        text: the file's content.
        origin: what error messages call the file.

    Raises:
        ConfigError: the text is not TOML, or a number or a nesting is beyond what Python reads.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: expected TOML: {error}") from error
    except ValueError:
        # tomllib passes on int()'s refusal, which names neither file nor place.
        limit = sys.get_int_max_str_digits()
        number = re.search(rf"[0-9_]{{{limit + 1},}}", text)
        line = text.count("\n", 0, number.start() if number else 0) + 1
        raise ConfigError(
            f"{origin}: line {line}: expected a number with at most {limit} digits"
        ) from None
    except RecursionError:
        line = _deepest_line(text)
        raise ConfigError(f"{origin}: line {line}: tables or lists are nested too deeply") from None
    for path in _large_numbers(tree):
        raise ConfigError(f"{origin}: {path}: expected a whole number of at most 64 bits")
    return tree


def _large_numbers(tree: dict[str, Any]) -> Iterator[str]:
    """The keys of integers that TOML does not have: a hexadecimal one may be of any length."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}".strip("."), each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", each) for i, each in enumerate(value)]
        elif isinstance(value, int) and value.bit_length() > INTEGER_BITS:
            yield path


def _deepest_line(text: str) -> int:
    """The line in which the most brackets are open."""
    depth = most = found = 0
    for number, line in enumerate(text.splitlines(), 1):
        for character in line:
            depth += (character in "[{") - (character in "]}")
            if depth > most:
                most, found = depth, number
    return found


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
            Each such error is a line of the text.
    """
    try:
        return msgspec.convert(tree, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        found = (_explain(each, tree, kind) for each in every_error(tree, kind, decode))
        raise all_errors(origin, found) from error


def all_errors(origin: str, found: Iterable[str]) -> ConfigError:
    """One error of many: each is a line of its text, up to MAX_ERRORS of them.

    Args:
        origin: the name of the file in errors.
        found: the errors, at least one; each begins with its key.

    Thread safety: any thread.
    """
    lines = [f"{origin}: {each}" for each in itertools.islice(found, MAX_ERRORS + 1)]
    if len(lines) > MAX_ERRORS:
        lines[-1] = f"{origin}: and further errors"
    return ConfigError("\n".join(lines))


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
