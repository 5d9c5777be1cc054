"""The configuration of a gateway whose packets netlog's own relay moves."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated

import msgspec

from netlog.config.gateway import GatewayConfig, NodeConfig, contradictions
from netlog.config.sinks import ConfigTable, doubles
from netlog.config.values import InterfaceAddress, InterfaceName, Prefix, SocketAddress

__all__ = ["RelayConfig", "RoutesConfig", "SockConfig", "TunConfig"]

MIN_MTU = 1280
"""RFC 8200 section 5: the smallest MTU of a link that carries IPv6."""
MAX_QUEUES = 32
"""Each queue takes two threads and two lanes: this is more than the cores of a gateway can run."""
MAX_MTU = 65535
"""RFC 791: the longest IPv4 packet."""


class TunConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[tun]`: the interface that the gateway creates."""

    name: InterfaceName
    addresses: Annotated[tuple[InterfaceAddress, ...], msgspec.Meta(min_length=1)]
    mtu: Annotated[int, msgspec.Meta(ge=MIN_MTU, le=MAX_MTU)] = MIN_MTU
    offload: bool = True
    queues: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUEUES)] = 1


class SockConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sock]`: the UDP socket that carries the overlay's packets."""

    listen: SocketAddress


class RoutesConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routes]`: the subnets behind this gateway, and whether it uses a peer's default route."""

    subnets: tuple[Prefix, ...] = ()
    default: bool = False


class RelayConfig(
    GatewayConfig, frozen=True, forbid_unknown_fields=True, tag="relay", kw_only=True
):
    """`relay`: a whole gateway, which exchanges packets with its peers."""

    node: NodeConfig
    tun: TunConfig
    sock: SockConfig
    routes: RoutesConfig = RoutesConfig()

    def own_prefixes(self) -> list[str]:
        """The prefixes on this side of the tunnel."""
        return [*(address.host for address in self.tun.addresses), *self.routes.subnets]

    def tunnel_prefixes(self) -> list[str]:
        """The prefixes behind the tunnel."""
        return [prefix for peer in self.peers for prefix in peer.allowed_ips]

    def contradictions(self) -> Iterator[str]:
        """Errors of keys that contradict each other."""
        yield from doubles("tun.addresses", [address.host for address in self.tun.addresses])
        yield from doubles("peers", [peer.name for peer in self.peers], ".name")
        yield from contradictions(self)
        yield from _of_the_peers(self)


def _of_the_peers(config: RelayConfig) -> Iterator[str]:
    listen = config.sock.listen
    owners: dict[str, int] = {
        str(ipaddress.ip_network(address.host)): -1 for address in config.tun.addresses
    }
    for i, peer in enumerate(config.peers):
        if ipaddress.ip_address(peer.endpoint.host).is_unspecified:
            yield f"peers[{i}].endpoint: expected the peer's own address, got {peer.endpoint!r}"
        # A socket that is bound to [::] carries IPv4 as well.
        if peer.endpoint.version != listen.version and listen.host != "::":
            yield (
                f"peers[{i}].endpoint: expected an IPv{listen.version} endpoint, because "
                f"sock.listen is {listen!r}, got {peer.endpoint!r}"
            )
        for j, prefix in enumerate(peer.allowed_ips):
            owner = owners.setdefault(prefix, i)
            if owner != i:
                whose = "tun.addresses" if owner < 0 else f"peers[{owner}].allowed_ips"
                yield (
                    f"peers[{i}].allowed_ips[{j}]: expected a unique prefix, but "
                    f"{prefix!r} is also in {whose}"
                )
