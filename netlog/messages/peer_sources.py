"""Fills in the source of physical traffic: the overlay address of the peer at each endpoint."""

from collections.abc import Iterable, Sequence

import numpy as np

from netlog._native import lib
from netlog.model.addresses import mapped, split_endpoint
from netlog.model.endpoints import pack_endpoint
from netlog.model.flows import FlowArray
from netlog.model.peers import ANY_PORT, Peer

__all__ = ["fill_sources"]


def fill_sources(rows: FlowArray, peers: Sequence[Iterable[Peer]]) -> FlowArray:
    """Fill in the source of sock connections: the overlay address of the peer at the endpoint.

    Args:
        rows: FLOW_DTYPE, shape (n,), as drained at the socket: the destination is the endpoint.
        peers: the sets of peers that were in force, oldest first; a newer one overrides.

    Returns:
        `rows`, or a copy in which the source of every known endpoint is `address:0`. A peer with an
        unknown port owns all ports of its address that no other peer has.
    """
    known = {
        split_endpoint(peer.endpoint, least_port=ANY_PORT): peer.overlay_address
        for peer_set in peers
        for peer in peer_set
        if peer.overlay_address is not None
    }
    if not known or not len(rows):
        return rows
    # The first 19 bytes of an endpoint's row are its address, port and version, as in _key().
    sources = {pack_endpoint(*endpoint)[:19]: address for endpoint, address in known.items()}
    filled = rows.copy()
    keys = zip(
        rows["dst"].tolist(),
        rows["dst_port"].tolist(),
        rows["version"].tolist(),
        strict=True,
    )
    for row, (dst, port, version) in enumerate(keys):
        address = sources.get(_key(dst, port, version)) or sources.get(_key(dst, ANY_PORT, version))
        if address is not None:
            filled["src"][row] = np.void(mapped(address))
            filled["flags"][row] = 0 if address.version == version else lib.NETLOG_SRC_OTHER
    return filled


def _key(dst: bytes, port: int, version: int) -> bytes:
    return dst + np.uint16(port).tobytes() + bytes((version,))
