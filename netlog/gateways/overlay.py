"""What is known of an overlay while it is metered: by the settings, a source, the interface."""

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
    """What the user says of an overlay; a source adds to it.

    Attributes:
        node_id: of the node that reports.
        routes: how traffic is classified.
        peers: who is behind which endpoint; those of the source are added, and win.
        nodes: who is who; in place of the nodes of the source.
    """

    node_id: str
    routes: RouterConfig
    peers: tuple[Peer, ...] = ()
    nodes: NodeSource | None = None


class OverlayFollower:
    """Asks a source at the end of each period, and tells a logger what has changed.

    It is the logger's source of nodes, too.

    Args:
        settings: what the user says.
        source: who knows more, or None.
        interfaces: the names of the TUN interfaces there are by now; their addresses are this
            node's own. One that is gone for the moment has the addresses that it had.

    Attributes:
        routes: as the logger has them, or is to have them.
        peers: likewise.

    Thread safety: `look` before the logger runs, `refresh` and `snapshot` in its thread.
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
        """Who is asked for the nodes: whom the user names, else this; None: nobody knows any."""
        return self._settings.nodes or (self if self._source is not None else None)

    def snapshot(self) -> NodeMap | None:
        """The nodes of the source, with the node that reports; None: it has told of none."""
        return self._nodes

    def look(self) -> None:
        """Ask the source, and look at the interfaces."""
        before = self._overlay
        if self._source is not None:
            self._overlay = self._source.snapshot()
        own_before, self._own = self._own, self._addresses() or self._own
        self.peers = self._merged_peers(before)
        if (self._overlay, self._own) != (before, own_before):
            self.routes = self._merged_routes()
            self._nodes = self._merged_nodes()

    def refresh(self, logger: Logger) -> None:
        """Look, and tell the logger what has changed."""
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
        # A tap is up to 50 ms behind: datagrams of the last period are counted in this one, so the
        # endpoints of then stay known, where nobody else has them by now.
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
        # A peer may be called as this node is, by chance or by its own choice: with this node's id
        # its addresses would count as this node's.
        others = {at: _not(own, node) for at, node in known.by_address.items()}
        return NodeMap(own, others)


def _not(own: Node, node: Node) -> Node:
    """A node, with an id that is not this node's."""
    if node.node_id != own.node_id:
        return node
    node_id = f"{node.node_id}#{next(iter(node.addresses), '')}"
    return Node(node_id, node.name, node.addresses, node.os, node.user, node.tags)
