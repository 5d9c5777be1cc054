"""The configuration of a gateway that is metered by taps on its interfaces."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from netlog._values import InterfaceName
from netlog.gateway_config import ForeignConfig, foreign_contradictions
from netlog.sink_config import Table, doubles

__all__ = ["WatchConfig", "WatchSockConfig", "WatchTunConfig"]

MAX_THREADS = 16
"""Of a tap; each has a ring of 16 MiB."""


class WatchTunConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface with the virtual traffic."""

    name: InterfaceName


class WatchSockConfig(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[socks]]`: a local UDP port that carries it, on one interface or on all."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    interface: InterfaceName | None = None


class WatchConfig(
    ForeignConfig, frozen=True, forbid_unknown_fields=True, tag="watch", kw_only=True
):
    """`watch`: interfaces, as `netlog watch` and `netlog run` tap them."""

    tun: WatchTunConfig
    socks: tuple[WatchSockConfig, ...] = ()
    threads: Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)] = 1

    def contradictions(self) -> Iterator[str]:
        """Keys that are right each, but not together."""
        yield from doubles("socks", [f"{sock.port}@{sock.interface}" for sock in self.socks])
        yield from foreign_contradictions(self)
