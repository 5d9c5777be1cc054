"""A relay's peers in the form that the core reads: by endpoint and by overlay address."""

from collections.abc import Sequence
from typing import Any

from netlog._native import check, ffi, lib
from netlog.model.addresses import mapped, split_endpoint
from netlog.model.endpoints import pack_endpoint
from netlog.model.peers import Network, Peer

__all__ = ["open_peers"]

EVERY_BIT = 0xFFFFFFFF


def open_peers(peers: Sequence[Peer]) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
    """Make the core's maps of peers: a `struct netlog_peers *` that frees itself.

    Raises:
        ValueError: two peers have the same endpoint or the same prefix, an endpoint names an
            interface that does not exist, or there are too many peers.
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
    return {
        "address": tuple(mapped(network.network_address)),
        "version": network.version,
        "length": network.prefixlen,
        "clear": EVERY_BIT,
        "set": number + 1,
    }
