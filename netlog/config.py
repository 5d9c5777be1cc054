"""The configuration of a gateway: a TOML file, read strictly.

Reading touches nothing but the file. An error names the file, the key and what was expected;
a key that netlog does not know is an error too, so that a misspelt one can not pass for a default.
"""

import ipaddress
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from netlog._strict import convert, read_text
from netlog._values import InterfaceAddress, InterfaceName, Prefix, SocketAddress, Text
from netlog.errors import ConfigError

__all__ = [
    "Config",
    "FileSinkConfig",
    "NodeConfig",
    "PeerConfig",
    "RoutesConfig",
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

ExitTraffic = Literal["aggregate", "log", "drop"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every table of the file has in common."""


class NodeConfig(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[node]`: who this gateway is in its messages."""

    id: Text


class TunConfig(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface that the gateway makes."""

    name: InterfaceName
    addresses: Annotated[tuple[InterfaceAddress, ...], msgspec.Meta(min_length=1)]
    mtu: Annotated[int, msgspec.Meta(ge=MIN_MTU, le=MAX_MTU)] = MIN_MTU


class SockConfig(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sock]`: the UDP socket that carries the overlay's packets."""

    listen: SocketAddress


class PeerConfig(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[peers]]`: another gateway, and the addresses behind it."""

    endpoint: SocketAddress
    allowed_ips: Annotated[tuple[Prefix, ...], msgspec.Meta(min_length=1)]
    name: str = ""


class RoutesConfig(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: the subnets behind this gateway, and whether a peer is its way out."""

    subnets: tuple[Prefix, ...] = ()
    default: bool = False


class StdoutSinkConfig(_Table, frozen=True, forbid_unknown_fields=True, tag="stdout"):
    """`[[sinks]]` of type `stdout`: JSON lines on standard output."""


class FileSinkConfig(_Table, frozen=True, forbid_unknown_fields=True, tag="file", kw_only=True):
    """`[[sinks]]` of type `file`: JSON lines, appended to a file."""

    path: Text


SinkConfig = StdoutSinkConfig | FileSinkConfig


class Config(_Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole gateway, as `netlog run` takes it."""

    node: NodeConfig
    tun: TunConfig
    sock: SockConfig
    peers: tuple[PeerConfig, ...] = ()
    routes: RoutesConfig = RoutesConfig()
    sinks: Annotated[tuple[SinkConfig, ...], msgspec.Meta(min_length=1)] = (StdoutSinkConfig(),)
    poll_period_s: Annotated[float, msgspec.Meta(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)] = 5.0
    exit_traffic: ExitTraffic = "aggregate"
    max_flows: Annotated[int, msgspec.Meta(ge=1, le=MAX_FLOWS)] = 65536


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
    config = convert(tree, Config, origin, _known_keys, _choices)
    for wrong in _contradictions(config):
        raise ConfigError(f"{origin}: {wrong}")
    return config


def _contradictions(config: Config) -> Iterator[str]:
    """Keys that are right each, but not together."""
    yield from _doubles("tun.addresses", [address.host for address in config.tun.addresses])
    yield from _doubles("peers", [peer.endpoint for peer in config.peers], ".endpoint")
    yield from _doubles("peers", [peer.name for peer in config.peers], ".name")
    yield from _doubles("sinks", [getattr(sink, "path", "stdout") for sink in config.sinks])
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


def _doubles(key: str, values: Sequence[str], member: str = "") -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, value in enumerate(values):
        if value and seen.setdefault(value, i) != i:
            first = f"{key}[{seen[value]}]{member}"
            yield f"{key}[{i}]{member}: expected a value of its own, {value!r} is in {first} too"


def _choices(path: str) -> tuple[str, ...]:
    """What the key at a path can be."""
    return get_args(ExitTraffic) if path == "exit_traffic" else ("stdout", "file")


def _known_keys(path: str) -> list[str]:
    """The keys of the table at a path such as `peers[0]`."""
    tables: dict[str, list[type[msgspec.Struct]]] = {
        "": [Config],
        "node": [NodeConfig],
        "tun": [TunConfig],
        "sock": [SockConfig],
        "peers": [PeerConfig],
        "routes": [RoutesConfig],
        "sinks": [StdoutSinkConfig, FileSinkConfig],
    }
    name = path.partition("[")[0]
    fields = [field.name for table in tables[name] for field in msgspec.structs.fields(table)]
    return [*(["type"] if name == "sinks" else []), *fields]
