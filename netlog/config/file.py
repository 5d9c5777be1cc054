"""The configuration of one gateway or several: a TOML file, read strictly.

Reading touches nothing but the file. An error names the file, the key and what was expected;
a key that netlog does not know is an error too, so that a misspelt one can not pass for a default.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from netlog.config.external import ExecConfig, WatchConfig
from netlog.config.reading import convert, parse_toml, read_text
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
"""What errors call a configuration without a file."""

AnyConfig = RelayConfig | ExecConfig | WatchConfig
KINDS: dict[str, type[AnyConfig]] = {"relay": RelayConfig, "exec": ExecConfig, "watch": WatchConfig}
SEVERAL = "gateways"

Kind = TypeVar("Kind", bound=AnyConfig)


@dataclass(frozen=True, slots=True)
class PlacedConfig:
    """The configuration of a gateway, and where errors say that it is from."""

    config: AnyConfig
    origin: str


def load_gateways(path: str | Path) -> tuple[PlacedConfig, ...]:
    """Read the configuration of one gateway, or of several, from a TOML file.

    Args:
        path: the file; UTF-8.

    Returns:
        One or more, with addresses and prefixes in canonical form.

    Raises:
        ConfigError: the file can not be read, is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    return parse_gateways(read_text(path), str(path))


def parse_gateways(text: str, origin: str) -> tuple[PlacedConfig, ...]:
    """Read the configuration of one gateway, or of several, from the text of a TOML file.

    Args:
        text: the file's content: a gateway, or `[[gateways]]` and nothing else.
        origin: what error messages call the file.

    Returns:
        As `load_gateways`.

    Raises:
        ConfigError: the text is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    tree = parse_toml(text, origin)
    if SEVERAL not in tree:
        return (PlacedConfig(_checked(tree, _kind(tree, origin), origin), origin),)
    entries = tree.pop(SEVERAL)
    if tree:
        raise ConfigError(f"{origin}: {next(iter(tree))}: expected inside one of [[{SEVERAL}]]")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{origin}: {SEVERAL}: expected a list with at least one entry")
    placed = []
    for i, entry in enumerate(entries):
        where = f"{origin}: {SEVERAL}[{i}]"
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: expected a table")
        placed.append(PlacedConfig(_checked(entry, _kind(entry, where), where), where))
    for wrong in _clashes([each.config for each in placed]):
        raise ConfigError(f"{origin}: {wrong}")
    return tuple(placed)


def load_config(
    path: str | Path | None, kind: type[Kind], changes: Mapping[str, Any] | None = None
) -> Kind:
    """Read the configuration of one gateway of a certain kind.

    Args:
        path: the file; None: there is none, and `changes` is all.
        kind: what it must be; a file that does not say is of this kind.
        changes: what a command line says: keys win over the file's, lists are added to its lists.

    Raises:
        ConfigError: the file can not be read, is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    if path is None:
        return _checked(_merged({}, changes or {}), kind, COMMAND_LINE)
    return parse_config(read_text(path), str(path), kind, changes)


def parse_config(
    text: str, origin: str, kind: type[Kind], changes: Mapping[str, Any] | None = None
) -> Kind:
    """Read the configuration of one gateway of a certain kind from the text of a TOML file.

    Args:
        text: the file's content.
        origin: what error messages call the file.
        kind: as for `load_config`. So is the next.
        changes: as there.

    Raises:
        ConfigError: the text is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    tree = _merged(parse_toml(text, origin), changes or {})
    if SEVERAL in tree:
        raise ConfigError(f"{origin}: {SEVERAL}: expected one gateway; several are for netlog run")
    return _checked(tree, kind, origin)


def _kind(tree: Mapping[str, Any], origin: str) -> type[AnyConfig]:
    """What a table says it is; a relay unless it says."""
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
    for wrong in config.contradictions():
        raise ConfigError(f"{origin}: {wrong}")
    return config


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A file's content with what a command line says: tables by their keys, lists joined."""
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
    """What several gateways can not share."""
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
                    f"{SEVERAL}[{i}].{where}: expected a place of its own, "
                    f"{place!r} is in {SEVERAL}[{owner}] too"
                )


def _places(config: AnyConfig) -> Iterator[tuple[str, str]]:
    """The files and directories of a gateway's sinks, by their keys."""
    for i, sink in enumerate(config.sinks):
        for key in ("path", "spool"):
            place = getattr(sink, key, None)
            if place is not None:
                yield f"sinks[{i}].{key}", os.path.normpath(place)
