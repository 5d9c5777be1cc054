"""Which overlay address is behind which endpoint: the source of physical traffic."""

from collections.abc import Iterable, Sequence

import numpy as np

from netlog._native import lib
from netlog.flows import flow_array
from netlog.meter import FlowArray
from netlog.relay import Peer

__all__ = ["Peer", "fill_sources"]


def fill_sources(rows: FlowArray, peers: Sequence[Iterable[Peer]]) -> FlowArray:
    """Fill the source of sock connections with the overlay address of the peer at the endpoint.

    Args:
        rows: FLOW_DTYPE, shape (n,), as drained at the socket: the destination is the endpoint.
        peers: the sets of peers that were in force, oldest first; a younger one wins.

    Returns:
        `rows`, or a copy in which the source of every known endpoint is `address:0`.
    """
    known = {
        peer.endpoint: peer.overlay_address
        for peer_set in peers
        for peer in peer_set
        if peer.overlay_address is not None
    }
    if not known or not len(rows):
        return rows
    endpoints = flow_array([(0, "", endpoint, 0, 0, 0, 0) for endpoint in known])
    places = {_endpoint_key(endpoints, i): i for i in range(len(endpoints))}
    sources = flow_array(
        [(0, f"[{a}]:0" if a.version == 6 else f"{a}:0", "", 0, 0, 0, 0) for a in known.values()]
    )
    found = np.array([places.get(_endpoint_key(rows, i), -1) for i in range(len(rows))])
    filled = rows.copy()
    hit = np.flatnonzero(found >= 0)
    source = sources[found[hit]]
    filled["src"][hit] = source["src"]
    other = source["version"] != rows["version"][hit]
    filled["flags"][hit] = np.where(other, lib.NETLOG_SRC_OTHER, 0)
    return filled


def _endpoint_key(rows: FlowArray, i: int) -> tuple[bytes, int, int]:
    return bytes(rows["dst"][i]), int(rows["dst_port"][i]), int(rows["version"][i])
