"""The configuration of a gateway: a TOML file, read strictly.

Reading touches nothing but the file. An error names the file, the key and what was expected;
a key that netlog does not know is an error too, so that a misspelt one can not pass for a default.
"""

import ipaddress
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from netlog._strict import convert, read_text
from netlog._values import (
    AbsolutePath,
    InterfaceAddress,
    InterfaceName,
    Prefix,
    SocketAddress,
    Text,
)
from netlog.errors import ConfigError
from netlog.sink_config import (
    FileSinkConfig,
    SinkConfig,
    StdoutSinkConfig,
    Table,
    doubles,
    sink_contradictions,
)

__all__ = [
    "Config",
    "FileSinkConfig",
    "NodeConfig",
    "NodesConfig",
    "PeerConfig",
    "RoutesConfig",
    "SinkConfig",
    "SockConfig",
    "StdoutSinkConfig",
    "TunConfig",
    "load_config",
    "parse_config",
]

MIN_MTU = 1280
"""RFC 8200 section 5: the least that a link which carries IPv6 must offer."""
MAX_MTU = 65535
"""RFC 791: the longest IPv4 packet."""
MAX_FLOWS = 1 << 26
"""NETLOG_MAX_FLOWS of csrc/netlog.h."""
MIN_PERIOD_S = 0.1
"""Below this a gateway would spend its time on making messages."""
MAX_PERIOD_S = 3600.0
"""Above this a crash would cost more than an hour of counts."""

MAX_MESSAGE_BYTES = 262144
"""Source: maxLogSize of Tailscale's wgengine/netlog."""
MAX_LIMIT_BYTES = 1 << 20
"""64 messages may wait in memory for each sink, and the smallest spool holds one of these."""

ExitTraffic = Literal["aggregate", "anonymize", "log", "drop"]


class NodeConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[node]`: who this gateway is in its messages."""

    id: Text


class TunConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface that the gateway makes."""

    name: InterfaceName
    addresses: Annotated[tuple[InterfaceAddress, ...], msgspec.Meta(min_length=1)]
    mtu: Annotated[int, msgspec.Meta(ge=MIN_MTU, le=MAX_MTU)] = MIN_MTU


class SockConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sock]`: the UDP socket that carries the overlay's packets."""

    listen: SocketAddress


class PeerConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[peers]]`: another gateway, and the addresses behind it."""

    endpoint: SocketAddress
    allowed_ips: Annotated[tuple[Prefix, ...], msgspec.Meta(min_length=1)]
    name: str = ""


class RoutesConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: the subnets behind this gateway, and whether a peer is its way out."""

    subnets: tuple[Prefix, ...] = ()
    default: bool = False


class NodesConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[nodes]`: who is who in the overlay."""

    file: Text


class Config(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole gateway, as `netlog run` takes it."""

    node: NodeConfig
    tun: TunConfig
    sock: SockConfig
    peers: tuple[PeerConfig, ...] = ()
    routes: RoutesConfig = RoutesConfig()
    sinks: Annotated[tuple[SinkConfig, ...], msgspec.Meta(min_length=1)] = (StdoutSinkConfig(),)
    poll_period_s: Annotated[float, msgspec.Meta(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)] = 5.0
    exit_traffic: ExitTraffic | None = None
    max_flows: Annotated[int, msgspec.Meta(ge=1, le=MAX_FLOWS)] = 65536
    max_message_bytes: Annotated[int, msgspec.Meta(le=MAX_LIMIT_BYTES)] = MAX_MESSAGE_BYTES
    meter: AbsolutePath | None = None
    nodes: NodesConfig | None = None


def load_config(path: str | Path) -> Config:
    """Read a gateway's configuration from a TOML file.

    Args:
        path: the file; UTF-8.

    Returns:
        The configuration, with addresses and prefixes in canonical form.

    Raises:
        ConfigError: the file can not be read, is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    return parse_config(read_text(path), str(path))


def parse_config(text: str, origin: str) -> Config:
    """Read a gateway's configuration from the text of a TOML file.

    Args:
        text: the file's content.
        origin: what error messages call the file.

    Returns:
        The configuration, with addresses and prefixes in canonical form.

    Raises:
        ConfigError: the text is no TOML, or a key is wrong, missing or unknown.

    Thread safety: any thread.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: expected TOML: {error}") from error
    config = convert(tree, Config, origin)
    for wrong in _contradictions(config):
        raise ConfigError(f"{origin}: {wrong}")
    return config


def _places_of_the_meter(config: Config) -> Iterator[str]:
    """The meter's file and the directory beside it belong to nobody else."""
    if config.meter is None:
        return
    owned = {os.path.normpath(config.meter), os.path.normpath(f"{config.meter}.spool")}
    for i, sink in enumerate(config.sinks):
        for key in ("path", "spool"):
            path = getattr(sink, key, None)
            if path is not None and os.path.normpath(path) in owned:
                yield f"sinks[{i}].{key}: expected a place of its own, this is the meter's"


def _too_small(config: Config) -> Iterator[str]:
    # Imported here, as it brings numpy, and few say how long a message may be.
    from netlog.message import smallest_max_bytes  # noqa: PLC0415

    least = smallest_max_bytes(config.node.id)
    if config.max_message_bytes < least:
        yield f"max_message_bytes: expected a whole number >= {least}"


def _contradictions(config: Config) -> Iterator[str]:
    """Keys that are right each, but not together."""
    yield from doubles("tun.addresses", [address.host for address in config.tun.addresses])
    yield from doubles("peers", [peer.endpoint for peer in config.peers], ".endpoint")
    yield from doubles("peers", [peer.name for peer in config.peers], ".name")
    yield from sink_contradictions(config.sinks)
    yield from _places_of_the_meter(config)
    if config.max_message_bytes != MAX_MESSAGE_BYTES:
        yield from _too_small(config)
    listen = config.sock.listen
    owners: dict[str, int] = {
        str(ipaddress.ip_network(address.host)): -1 for address in config.tun.addresses
    }
    for i, peer in enumerate(config.peers):
        if ipaddress.ip_address(peer.endpoint.host).is_unspecified:
            yield f"peers[{i}].endpoint: expected the peer's own address, got {peer.endpoint!r}"
        # An IPv6 socket that is bound to no address carries IPv4 as well.
        if peer.endpoint.version != listen.version and listen.host != "::":
            yield (
                f"peers[{i}].endpoint: expected an IPv{listen.version} endpoint, as sock.listen "
                f"is {listen!r}, got {peer.endpoint!r}"
            )
        for j, prefix in enumerate(peer.allowed_ips):
            owner = owners.setdefault(prefix, i)
            if owner != i:
                whose = "tun.addresses" if owner < 0 else f"peers[{owner}].allowed_ips"
                yield (
                    f"peers[{i}].allowed_ips[{j}]: expected a prefix of this peer alone, "
                    f"{prefix!r} is in {whose} too"
                )
