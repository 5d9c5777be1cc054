"""The configuration of a gateway whose packets another program moves: `exec` and `watch`."""

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
"""MAX_PORTS and MAX_EXCLUDED of csrc/preload/descriptors.c. A source may take one exclusion."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
MAX_THREADS = 16
"""Threads of one tap. Each has a ring of 16 MiB."""


class ExternalRoutesConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: the prefixes behind the tunnel, and the subnets behind this host."""

    overlay: tuple[Prefix, ...] = ()
    subnets: tuple[Prefix, ...] = ()


class ExternalConfig(GatewayConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A gateway whose packets another program moves, and the source that knows its overlay."""

    routes: ExternalRoutesConfig = ExternalRoutesConfig()
    source: SourceConfig | None = None

    def own_prefixes(self) -> list[str]:
        """The configured prefixes on this side of the tunnel."""
        return list(self.routes.subnets)

    def tunnel_prefixes(self) -> list[str]:
        """The configured prefixes behind the tunnel."""
        return list(self.routes.overlay)


class ExecConfig(ExternalConfig, frozen=True, forbid_unknown_fields=True, tag="exec", kw_only=True):
    """`exec`: a daemon that `netlog exec` or `netlog run` starts."""

    command: tuple[Text, ...] = ()
    sock_ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=MAX_CHOICES)] = ()
    sock_exclude: Annotated[tuple[Prefix, ...], msgspec.Meta(max_length=MAX_CHOICES - 1)] = ()

    def contradictions(self) -> Iterator[str]:
        """Errors of keys that contradict each other."""
        yield from external_contradictions(self)


class WatchTunConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface with the virtual traffic."""

    name: InterfaceName


class WatchSockConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[socks]]`: a local UDP port that carries the tunnel, on one interface or on all."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    interface: InterfaceName | None = None


class WatchConfig(
    ExternalConfig, frozen=True, forbid_unknown_fields=True, tag="watch", kw_only=True
):
    """`watch`: interfaces that `netlog watch` or `netlog run` taps."""

    tun: WatchTunConfig
    socks: tuple[WatchSockConfig, ...] = ()
    threads: Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)] = 1

    def contradictions(self) -> Iterator[str]:
        """Errors of keys that contradict each other."""
        yield from doubles("socks", [f"{sock.port}@{sock.interface}" for sock in self.socks])
        yield from external_contradictions(self)


def external_contradictions(config: ExternalConfig) -> Iterator[str]:
    """The errors that `exec` and `watch` gateways can have in common."""
    yield from contradictions(config)
    if config.source is not None:
        yield from config.source.contradictions()
