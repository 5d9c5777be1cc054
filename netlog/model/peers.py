"""The peers of a relay: where each is, and which overlay addresses it has."""

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

from netlog.model.addresses import MAX_PORT, IPAddress, split_endpoint

__all__ = ["ANY_PORT", "Network", "Peer"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY_PORT = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody that a relay exchanges packets with.

    Attributes:
        endpoint: "a.b.c.d:port" or "[v6]:port": where its datagrams go and must come from.
        allowed_ips: prefixes, as in "100.64.0.2/32" or "100.64.0.2": overlay addresses that it has.
            Packets to them go to this peer, packets from it must have one as their source. Where
            peers' prefixes overlap the longest wins.
        name: for messages to users.
        any_port: the port is not known, and 0: physical traffic with all ports of the address where
            no other peer is counts as this peer's. A relay does not take such a peer.

    Raises:
        ValueError: the endpoint or a prefix is none, or a prefix has bits beyond its length.
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
        """The first of `allowed_ips` that is a single address; it names the peer in messages."""
        for network in self.networks:
            if network.prefixlen == network.max_prefixlen:
                return network.network_address
        return None


def _parse_prefix(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: expected a prefix: {error}") from None
