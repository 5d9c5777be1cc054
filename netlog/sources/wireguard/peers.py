"""The peers of a WireGuard interface, from either way to ask, and the overlay that they form."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlog.model.nodes import Node, NodeMap
from netlog.model.peers import Peer
from netlog.model.routes import Network
from netlog.sources.base import Overlay

if TYPE_CHECKING:
    from netlog.model.addresses import IPAddress

__all__ = ["KEY_BYTES", "Told", "overlay_of"]

KEY_BYTES = 32


@dataclass(slots=True)
class Told:
    """What the answer says of a peer.

    Attributes:
        key: its public key, 32 raw bytes.
        endpoint: "a.b.c.d:port" or "[v6]:port"; "": none yet.
        allowed: its allowed IPs, in the order of the answer.
        handshake_ns: when the last handshake ended, since the epoch; 0: there was none.
    """

    key: bytes
    endpoint: str = ""
    allowed: dict[Network, None] = field(default_factory=dict)
    handshake_ns: int = 0


def overlay_of(told: Iterable[Told], names: Mapping[str, str]) -> Overlay:
    """Return the overlay of an interface.

    Args:
        told: its peers.
        names: names of peers, by public key in base64.

    Returns:
        A peer for each that has an endpoint to itself; the allowed IPs of all as routes; and a node
        for each that has an address of its own (/32, /128). If several peers have one endpoint (an
        old key of the same host), it belongs to the one with the newest handshake; without a newest
        one, to nobody.

    Thread safety: any thread.
    """
    told = tuple(told)
    owners = _owners(told)
    peers: list[Peer] = []
    routes: dict[Network, None] = {}
    by_address: dict[IPAddress, Node] = {}
    for one in told:
        key = base64.b64encode(one.key).decode()
        name = names.get(key, "")
        if owners.get(one.endpoint) is one:
            peers.append(Peer(one.endpoint, tuple(map(str, one.allowed)), name))
        routes |= one.allowed
        own = [
            network.network_address
            for network in one.allowed
            if network.prefixlen == network.max_prefixlen
        ]
        if own:
            by_address |= dict.fromkeys(own, Node(key, name, own))
    return Overlay(tuple(peers), tuple(routes), nodes=NodeMap(None, by_address))


def _owners(told: Iterable[Told]) -> dict[str, Told | None]:
    """Whose each endpoint is; None: it cannot be told."""
    owners: dict[str, Told | None] = {}
    newest_ns: dict[str, int] = {}
    for one in told:
        if not one.endpoint:
            continue
        last_ns = newest_ns.get(one.endpoint, -1)
        if one.handshake_ns > last_ns:
            owners[one.endpoint], newest_ns[one.endpoint] = one, one.handshake_ns
        elif one.handshake_ns == last_ns:
            owners[one.endpoint] = None
    return owners
