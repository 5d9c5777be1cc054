"""The peers of a relay: their endpoints and their overlay addresses."""

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

from netlog.model.addresses import MAX_PORT, IPAddress, split_endpoint

__all__ = ["ANY_PORT", "Network", "Peer"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY_PORT = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that a relay exchanges packets with.

    Attributes:
        endpoint: "a.b.c.d:port" or "[v6]:port". Datagrams go there, and must come from there.
        allowed_ips: prefixes of its overlay addresses, as in "100.64.0.2/32" or "100.64.0.2".
            Packets to them go to this peer. Packets from this peer must have one as their source.
            If prefixes of several peers overlap, the longest one applies.
        name: its name in messages for users.
        any_port: the port is unknown, and is 0 in `endpoint`. Physical traffic counts as this
            peer's on all ports of its address that no other peer has. A relay does not accept such
            a peer.

    Raises:
        ValueError: `endpoint` is not an endpoint, a value is not a prefix, or a prefix has host
            bits.
    """

    endpoint: str
    allowed_ips: tuple[str, ...]
    name: str = ""
    any_port: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_ips", tuple(self.allowed_ips))
        if (split_endpoint(self.endpoint, least_port=ANY_PORT)[1] == ANY_PORT) != self.any_port:
            raise ValueError(
                f"{self.endpoint!r}: expected a port from 1 to {MAX_PORT}, or any_port"
            )
        for prefix in self.allowed_ips:
            _parse_prefix(prefix)

    def __str__(self) -> str:
        return self.name or self.endpoint

    @property
    def address(self) -> IPAddress:
        """The endpoint's address."""
        return split_endpoint(self.endpoint, least_port=ANY_PORT)[0]

    @property
    def networks(self) -> tuple[Network, ...]:
        """`allowed_ips` as networks."""
        return tuple(_parse_prefix(prefix) for prefix in self.allowed_ips)

    @property
    def overlay_address(self) -> IPAddress | None:
        """The first of `allowed_ips` that is a single address: the peer's address in messages."""
        for network in self.networks:
            if network.prefixlen == network.max_prefixlen:
                return network.network_address
        return None


def _parse_prefix(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: expected a prefix: {error}") from None
