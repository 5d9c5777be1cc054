"""Files that are read strictly: what is wrong is told by file, key, and what was expected."""

from pathlib import Path
from typing import TypeVar

import msgspec

from netlog._explain import explain
from netlog._values import decode
from netlog.errors import ConfigError

__all__ = ["convert", "read_text"]

Kind = TypeVar("Kind", bound=msgspec.Struct)


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
    tree: object,
    kind: type[Kind],
    origin: str,
) -> Kind:
    """Read the tables, lists and values of a file as what they must be.

    Args:
        tree: the file's content.
        kind: a Struct, of values that `netlog._values.decode` knows and others.
        origin: what error messages call the file.

    Returns:
        An instance of `kind`.

    Raises:
        ConfigError: something is wrong.
    """
    try:
        return msgspec.convert(tree, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {explain(str(error), tree, kind)}") from error
