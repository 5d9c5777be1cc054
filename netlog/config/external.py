"""The configuration of a gateway whose packets somebody else moves: `exec` and `watch`."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from netlog.config.gateway import GatewayConfig, contradictions
from netlog.config.sinks import ConfigTable, doubles
from netlog.config.sources import SourceConfig
from netlog.config.values import InterfaceName, Prefix, Text

__all__ = [
    "ExecConfig",
    "ExternalConfig",
    "ExternalRoutesConfig",
    "WatchConfig",
    "WatchSockConfig",
    "WatchTunConfig",
]

MAX_CHOICES = 64
"""MAX_PORTS and MAX_EXCLUDED of csrc/preload/descriptors.c; the source may need one of these."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
MAX_THREADS = 16
"""Of a tap; each has a ring of 16 MiB."""


class ExternalRoutesConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: what the tunnel leads to, and the subnets behind this host."""

    overlay: tuple[Prefix, ...] = ()
    subnets: tuple[Prefix, ...] = ()


class ExternalConfig(GatewayConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A gateway whose packets somebody else moves, and who knows its overlay."""

    routes: ExternalRoutesConfig = ExternalRoutesConfig()
    source: SourceConfig | None = None

    def own_prefixes(self) -> list[str]:
        """What is on this side of the tunnel, as far as it is configured."""
        return list(self.routes.subnets)

    def tunnel_prefixes(self) -> list[str]:
        """What the tunnel leads to, likewise."""
        return list(self.routes.overlay)


class ExecConfig(ExternalConfig, frozen=True, forbid_unknown_fields=True, tag="exec", kw_only=True):
    """`exec`: a daemon, as `netlog exec` and `netlog run` start it."""

    command: tuple[Text, ...] = ()
    sock_ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=MAX_CHOICES)] = ()
    sock_exclude: Annotated[tuple[Prefix, ...], msgspec.Meta(max_length=MAX_CHOICES - 1)] = ()

    def contradictions(self) -> Iterator[str]:
        """Keys that are right each, but not together."""
        yield from external_contradictions(self)


class WatchTunConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface with the virtual traffic."""

    name: InterfaceName


class WatchSockConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[socks]]`: a local UDP port that carries it, on one interface or on all."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    interface: InterfaceName | None = None


class WatchConfig(
    ExternalConfig, frozen=True, forbid_unknown_fields=True, tag="watch", kw_only=True
):
    """`watch`: interfaces, as `netlog watch` and `netlog run` tap them."""

    tun: WatchTunConfig
    socks: tuple[WatchSockConfig, ...] = ()
    threads: Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)] = 1

    def contradictions(self) -> Iterator[str]:
        """Keys that are right each, but not together."""
        yield from doubles("socks", [f"{sock.port}@{sock.interface}" for sock in self.socks])
        yield from external_contradictions(self)


def external_contradictions(config: ExternalConfig) -> Iterator[str]:
    """Likewise of one whose packets somebody else moves."""
    yield from contradictions(config)
    if config.source is not None:
        yield from config.source.contradictions()
