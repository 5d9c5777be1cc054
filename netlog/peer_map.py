"""The peers of a relay: where each is, and which overlay addresses it has."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from netlog._native import check, ffi, lib
from netlog.endpoints import MAX_PORT, IPAddress, pack_endpoint, split_endpoint

__all__ = ["ANY_PORT", "Peer"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

EVERY_BIT = 0xFFFFFFFF
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


def open_peers(peers: Sequence[Peer]) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
    """Make the core's maps of peers: a `struct netlog_peers *` that frees itself.

    Raises:
        ValueError: two peers have the same endpoint or the same prefix, an endpoint names an
            interface that there is not, or there are too many peers.
    """
    if len(peers) > lib.NETLOG_MAX_PEERS:
        raise ValueError(f"peers: expected at most {lib.NETLOG_MAX_PEERS}, got {len(peers)}")
    owners: dict[Network, Peer] = {}
    at: dict[bytes, Peer] = {}
    rows = []
    for number, peer in enumerate(peers):
        endpoint = pack_endpoint(*split_endpoint(peer.endpoint))
        if endpoint in at:
            raise ValueError(f"{at[endpoint]} and {peer} have the same endpoint {peer.endpoint}")
        at[endpoint] = peer
        for network in peer.networks:
            if network in owners:
                raise ValueError(f"{owners[network]} and {peer} both have {network}")
            owners[network] = peer
            rows.append(_prefix_row(network, number))
    prefixes = ffi.new("struct netlog_prefix[]", rows)
    opened = ffi.new("struct netlog_peers **")
    buffer = ffi.from_buffer("struct netlog_endpoint[]", b"".join(at))
    check(lib.netlog_peers_open(buffer, len(peers), prefixes, len(rows), opened), "peers")
    return ffi.gc(opened[0], lib.netlog_peers_close)


def _prefix_row(network: Network, number: int) -> dict[str, Any]:
    packed = network.network_address.packed
    mapped = packed if network.version == 6 else bytes(10) + b"\xff\xff" + packed  # noqa: PLR2004
    return {
        "address": tuple(mapped),
        "version": network.version,
        "length": network.prefixlen,
        "clear": EVERY_BIT,
        "set": number + 1,
    }
