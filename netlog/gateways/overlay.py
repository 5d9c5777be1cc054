"""What is known of an overlay while it is metered, from the settings, a source and interfaces."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netlog.errors import DeviceError
from netlog.logger.logger import Logger
from netlog.model.addresses import IPAddress
from netlog.model.nodes import Node, NodeMap, NodeSource
from netlog.model.peers import Peer
from netlog.model.routes import RouterConfig
from netlog.netlink.interfaces import addresses_of, index_of
from netlog.sources import KeptSource, Overlay

__all__ = ["OverlayFollower", "OverlaySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlaySettings:
    """The user's settings for an overlay; a source adds to them.

    Attributes:
        node_id: the id of the node that reports.
        routes: the routes that classify traffic.
        peers: the peers by endpoint. The source's peers are added, and override these.
        nodes: the nodes of the overlay; they replace those of the source.
    """

    node_id: str
    routes: RouterConfig
    peers: tuple[Peer, ...] = ()
    nodes: NodeSource | None = None


class OverlayFollower:
    """Asks a source at the end of each period, and reports changes to a logger.

    It is also the logger's source of nodes.

    Args:
        settings: the user's settings.
        source: the source that knows the overlay, or None.
        interfaces: returns the names of the TUN interfaces that exist now. Their addresses are this
            node's own. While no interface has an address, the last addresses stay.

    Attributes:
        routes: the routes that the logger has, or will get next.
        peers: the peers that the logger has, or will get next.

    Thread safety: `look` before the logger runs; `refresh` and `snapshot` in the logger's thread.
    """

    def __init__(
        self,
        settings: OverlaySettings,
        source: KeptSource | None,
        interfaces: Callable[[], Iterable[str]],
    ) -> None:
        self.routes = settings.routes
        self.peers = settings.peers
        self._settings = settings
        self._source = source
        self._interfaces = interfaces
        self._overlay = Overlay()
        self._own: tuple[IPAddress, ...] = ()
        self._nodes: NodeMap | None = None

    @property
    def nodes(self) -> NodeSource | None:
        """The source of nodes: the user's, otherwise this object; None: there is no source."""
        return self._settings.nodes or (self if self._source is not None else None)

    def snapshot(self) -> NodeMap | None:
        """The nodes of the source, and the node that reports; None: the source knows no nodes."""
        return self._nodes

    def look(self) -> None:
        """Ask the source, and read the addresses of the interfaces."""
        before = self._overlay
        if self._source is not None:
            self._overlay = self._source.snapshot()
        own_before, self._own = self._own, self._addresses() or self._own
        self.peers = self._merged_peers(before)
        if (self._overlay, self._own) != (before, own_before):
            self.routes = self._merged_routes()
            self._nodes = self._merged_nodes()

    def refresh(self, logger: Logger) -> None:
        """Look, and report changes to the logger."""
        peers, routes = self.peers, self.routes
        self.look()
        if self.peers != peers:
            logger.reconfig_peers(self.peers)
        if self.routes is not routes:
            logger.reconfig_routes(self.routes)

    # -- inside -----------------------------------------------------------------------------------

    def _addresses(self) -> tuple[IPAddress, ...]:
        found: dict[IPAddress, None] = {}
        for name in self._interfaces():
            with contextlib.suppress(DeviceError):
                found |= dict.fromkeys(addresses_of(index_of(name)))
        return tuple(found)

    def _merged_peers(self, before: Overlay) -> tuple[Peer, ...]:
        # A tap is up to 50 ms late, so this period counts some datagrams of the last one. Keep the
        # endpoints of the last period, unless another peer has taken them over.
        now = {peer.endpoint for peer in self._overlay.peers}
        stale = [peer for peer in before.peers if peer.endpoint not in now]
        merged = {
            peer.endpoint: peer
            for peers in (self._settings.peers, stale, self._overlay.peers)
            for peer in peers
        }
        return tuple(merged.values())

    def _merged_routes(self) -> RouterConfig:
        base, known = self._settings.routes, self._overlay
        return RouterConfig(
            local_addrs=(*base.local_addrs, *known.local_addrs, *map(str, self._own)),
            routes=(*base.routes, *known.routes),
            subnet_routes=base.subnet_routes,
        )

    def _merged_nodes(self) -> NodeMap | None:
        known = self._overlay.nodes
        if known is None or known.self_node is not None:
            return known
        hosts = [
            str(network.network_address)
            for network in self._overlay.local_addrs
            if network.prefixlen == network.max_prefixlen
        ]
        own = Node(self._settings.node_id, addresses=(*hosts, *map(str, self._own)))
        # A peer may have this node's id, by chance or by its own choice. Its addresses would then
        # count as this node's.
        others = {at: _not(own, node) for at, node in known.by_address.items()}
        return NodeMap(own, others)


def _not(own: Node, node: Node) -> Node:
    """The node; if it has this node's id, a copy with another id."""
    if node.node_id != own.node_id:
        return node
    node_id = f"{node.node_id}#{next(iter(node.addresses), '')}"
    return Node(node_id, node.name, node.addresses, node.os, node.user, node.tags)
