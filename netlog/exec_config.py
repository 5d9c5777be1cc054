"""The configuration of a daemon that is metered as it is: a TOML file, read strictly."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from netlog._strict import convert, read_text
from netlog._values import AbsolutePath, Prefix
from netlog.config import (
    MAX_FLOWS,
    MAX_LIMIT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PERIOD_S,
    MIN_PERIOD_S,
    ExitTraffic,
    NodeConfig,
    NodesConfig,
)
from netlog.errors import ConfigError
from netlog.sink_config import SinkConfig, StdoutSinkConfig, Table, sink_contradictions

__all__ = ["COMMAND_LINE", "ExecConfig", "load_exec_config"]

COMMAND_LINE = "command line"
"""What errors call a configuration without a file."""

MAX_CHOICES = 64
"""MAX_PORTS and MAX_EXCLUDED of csrc/preload/descriptors.c."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ExecRoutesConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: what the tunnel leads to, and the subnets behind this host."""

    overlay: tuple[Prefix, ...] = ()
    subnets: tuple[Prefix, ...] = ()


class ExecConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A metered daemon, as `netlog exec` takes it."""

    node: NodeConfig
    sinks: Annotated[tuple[SinkConfig, ...], msgspec.Meta(min_length=1)]
    routes: ExecRoutesConfig = ExecRoutesConfig()
    sock_ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=MAX_CHOICES)] = ()
    sock_exclude: Annotated[tuple[Prefix, ...], msgspec.Meta(max_length=MAX_CHOICES)] = ()
    poll_period_s: Annotated[float, msgspec.Meta(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)] = 5.0
    exit_traffic: ExitTraffic | None = None
    max_flows: Annotated[int, msgspec.Meta(ge=1, le=MAX_FLOWS)] = 65536
    max_message_bytes: Annotated[int, msgspec.Meta(le=MAX_LIMIT_BYTES)] = MAX_MESSAGE_BYTES
    meter: AbsolutePath | None = None
    nodes: NodesConfig | None = None


def load_exec_config(path: str | None, changes: Mapping[str, Any]) -> ExecConfig:
    """Read the configuration of a metered daemon from a TOML file.

    Args:
        path: the file; UTF-8. None: there is none, and `changes` say it all.
        changes: keys with what goes before the file's; `sinks` are added to the file's.

    Returns:
        The configuration, with prefixes in canonical form.

    Raises:
        ConfigError: the file can not be read, is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    origin = path or COMMAND_LINE
    try:
        tree = {} if path is None else tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: expected TOML: {error}") from error
    sinks = [*tree.get("sinks", ()), *changes.get("sinks", ())]
    config = convert({**tree, **changes, "sinks": sinks}, ExecConfig, origin)
    for wrong in _contradictions(config):
        raise ConfigError(f"{origin}: {wrong}")
    return config


def _contradictions(config: ExecConfig) -> Iterator[str]:
    for i, sink in enumerate(config.sinks):
        if isinstance(sink, StdoutSinkConfig):
            yield f"sinks[{i}].type: expected another sink: standard output is the command's"
    yield from sink_contradictions(config.sinks)
