"""The configuration of one or more gateways: a TOML file, read strictly.

Reading touches nothing but the file. An error names the file, the line and the key, and says what
was expected; every error is told at once. An unknown key is an error too: otherwise a misspelt key
would silently leave its default.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.lines import located
from netlog.config.reading import MAX_ERRORS, all_errors, convert, parse_toml, read_text
from netlog.config.relay import RelayConfig
from netlog.config.sinks import doubles
from netlog.errors import ConfigError

__all__ = [
    "COMMAND_LINE",
    "AnyConfig",
    "PlacedConfig",
    "load_config",
    "load_gateways",
    "parse_config",
    "parse_gateways",
]

COMMAND_LINE = "command line"
"""The name in errors of a configuration without a file."""

AnyConfig = RelayConfig | ExecConfig | WatchConfig
KINDS: dict[str, type[AnyConfig]] = {"relay": RelayConfig, "exec": ExecConfig, "watch": WatchConfig}
SEVERAL = "gateways"

Kind = TypeVar("Kind", bound=AnyConfig)


@dataclass(frozen=True, slots=True)
class PlacedConfig:
    """The configuration of a gateway, and the name of its place in errors."""

    config: AnyConfig
    origin: str


def load_gateways(path: str | Path) -> tuple[PlacedConfig, ...]:
    """Read the configuration of one or more gateways from a TOML file.

    Args:
        path: the file; UTF-8.

    Returns:
        At least one configuration, with addresses and prefixes in canonical form.

    Raises:
        ConfigError: the file cannot be read or is not TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    text = read_text(path)
    try:
        return parse_gateways(text, str(path))
    except ConfigError as error:
        raise located(error, path) from error


def parse_gateways(text: str, origin: str) -> tuple[PlacedConfig, ...]:
    """Read the configuration of one or more gateways from the text of a TOML file.

    Args:
        text: the file's content: a gateway, or `[[gateways]]` and nothing else.
        origin: the name of the file in errors.

    Returns:
        The same as `load_gateways`.

    Raises:
        ConfigError: the text is not TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    tree = parse_toml(text, origin)
    if SEVERAL not in tree:
        return (PlacedConfig(_checked(tree, _kind(tree, origin), origin), origin),)
    entries = tree.pop(SEVERAL)
    if tree:
        raise ConfigError(f"{origin}: {next(iter(tree))}: expected inside a [[{SEVERAL}]] table")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{origin}: {SEVERAL}: expected a list with at least one entry")
    placed: list[PlacedConfig] = []
    errors: list[str] = []
    for i, entry in enumerate(entries):
        where = f"{origin}: {SEVERAL}[{i}]"
        if not isinstance(entry, dict):
            errors.append(f"{where}: expected a table")
            continue
        try:
            placed.append(PlacedConfig(_checked(entry, _kind(entry, where), where), where))
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ConfigError("\n".join(errors))
    if wrong := list(itertools.islice(_clashes([each.config for each in placed]), MAX_ERRORS + 1)):
        raise all_errors(origin, wrong)
    return tuple(placed)


def load_config(
    path: str | Path | None, kind: type[Kind], changes: Mapping[str, Any] | None = None
) -> Kind:
    """Read the configuration of one gateway of a certain kind.

    Args:
        path: the file; None: there is no file, and `changes` is the whole configuration.
        kind: the kind that the gateway must have. A file without `type` has this kind.
        changes: settings from a command line. They override the file's keys, except lists, which
            are appended to the file's lists.

    Raises:
        ConfigError: the file cannot be read or is not TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    if path is None:
        return _checked(_merged({}, changes or {}), kind, COMMAND_LINE)
    text = read_text(path)
    try:
        return parse_config(text, str(path), kind, changes)
    except ConfigError as error:
        raise located(error, path) from error


def parse_config(
    text: str, origin: str, kind: type[Kind], changes: Mapping[str, Any] | None = None
) -> Kind:
    """Read the configuration of one gateway of a certain kind from the text of a TOML file.

    Args:
        text: the file's content.
        origin: the name of the file in errors.
        kind: as for `load_config`.
        changes: as for `load_config`.

    Raises:
        ConfigError: the text is not TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    tree = _merged(parse_toml(text, origin), changes or {})
    if SEVERAL in tree:
        raise ConfigError(f"{origin}: {SEVERAL}: expected one gateway; use netlog run for several")
    return _checked(tree, kind, origin)


def _kind(tree: Mapping[str, Any], origin: str) -> type[AnyConfig]:
    """The kind of gateway that a table has as its `type`; without one, it is a relay."""
    name = tree.get("type", "relay")
    if not isinstance(name, str) or name not in KINDS:
        choices = " or ".join(map(repr, KINDS))
        raise ConfigError(f"{origin}: type: expected {choices}, got {name!r}")
    return KINDS[name]


def _checked(tree: Mapping[str, Any], kind: type[Kind], origin: str) -> Kind:
    name = tree.get("type")
    wanted = next(each for each, known in KINDS.items() if known is kind)
    if name not in (None, wanted):
        raise ConfigError(f"{origin}: type: expected {wanted!r}, got {name!r}")
    config = convert({**tree, "type": wanted}, kind, origin)
    if wrong := list(itertools.islice(config.contradictions(), MAX_ERRORS + 1)):
        raise all_errors(origin, wrong)
    return config


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file with the changes: tables are merged by key, lists are joined."""
    merged = dict(tree)
    for key, value in changes.items():
        own = tree.get(key)
        if isinstance(own, dict) and isinstance(value, Mapping):
            merged[key] = _merged(own, value)
        elif isinstance(own, list) and isinstance(value, list):
            merged[key] = [*own, *value]
        else:
            merged[key] = value
    return merged


def _clashes(configs: Sequence[AnyConfig]) -> Iterator[str]:
    """Errors of gateways that use the same file, name or address, which they cannot share."""
    relays = [each if isinstance(each, RelayConfig) else None for each in configs]
    yield from doubles(SEVERAL, [each.meter or "" for each in configs], ".meter")
    yield from doubles(SEVERAL, [relay.tun.name if relay else "" for relay in relays], ".tun.name")
    listening = [relay.sock.listen if relay else "" for relay in relays]
    yield from doubles(SEVERAL, listening, ".sock.listen")
    owners: dict[str, int] = {}
    for i, config in enumerate(configs):
        for where, place in _places(config):
            owner = owners.setdefault(place, i)
            if owner != i:
                yield (
                    f"{SEVERAL}[{i}].{where}: expected a unique path, "
                    f"but {place!r} is also in {SEVERAL}[{owner}]"
                )


def _places(config: AnyConfig) -> Iterator[tuple[str, str]]:
    """The keys and paths of the files and directories of a gateway's sinks."""
    for i, sink in enumerate(config.sinks):
        for key in ("path", "spool"):
            place = getattr(sink, key, None)
            if place is not None:
                yield f"sinks[{i}].{key}", os.path.normpath(place)
