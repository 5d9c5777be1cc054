"""A node map in the core's form: a prefix for each address, and a number for each node."""

from typing import TYPE_CHECKING, Self

import numpy as np

from netlog.messages.classify import NODE, NODE_NUMBER_SHIFT, SELF, VALUE_BITS
from netlog.model.addresses import mapped
from netlog.model.routes import PREFIX_DTYPE, PrefixArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlog.model.addresses import IPAddress
    from netlog.model.nodes import Node, NodeMap

__all__ = ["NodeNumbers"]

_MAX_NODES = 1 << (32 - NODE_NUMBER_SHIFT)  # a value has this many bits for the number


class NodeNumbers:
    """The nodes except the own one, numbered from 1 in the order of their ids.

    Attributes:
        nodes: the nodes by number. Number 0 stands for no node and for the own node; its place
            holds the same node as number 1.
        prefixes: PREFIX_DTYPE, shape (n,): each address. Its value gets the bits for `NODE_RULE`
            and the number of its node.
        n_bytes: int64, shape (len(nodes),): the length of each node's JSON; 0 for number 0.

    Raises:
        ValueError: there are more nodes than numbers.

    Thread safety: immutable.
    """

    __slots__ = ("n_bytes", "nodes", "prefixes")

    @classmethod
    def of(cls, known: "NodeMap") -> Self:
        """The numbers of a map. They are computed once, and kept with the map."""
        made = known.derived.get(cls)
        if made is None:
            made = known.derived.setdefault(cls, cls(known.self_node, known.by_address))
        assert isinstance(made, cls)  # noqa: S101 - for the type checker
        return made

    def __init__(self, self_node: "Node | None", by_address: "Mapping[IPAddress, Node]") -> None:
        own = self_node.node_id if self_node is not None else None
        others = {node.node_id: node for node in by_address.values() if node.node_id != own}
        if len(others) >= _MAX_NODES:
            raise ValueError(f"nodes: expected fewer than {_MAX_NODES}, got {len(others)}")
        ids = sorted(others)
        numbers = {node_id: number for number, node_id in enumerate(ids, 1)}
        self.nodes = tuple(others[node_id] for node_id in (*ids[:1], *ids))
        self.n_bytes = np.array([len(node.to_json()) for node in self.nodes], np.int64)
        self.n_bytes[:1] = 0
        self.prefixes = _host_prefixes(by_address)
        # The own node has no number.
        self.prefixes["set"] = [
            NODE | numbers[node.node_id] << NODE_NUMBER_SHIFT
            if node.node_id != own
            else NODE | SELF
            for node in by_address.values()
        ]


def _host_prefixes(addresses: "Mapping[IPAddress, Node]") -> PrefixArray:
    prefixes = np.zeros(len(addresses), PREFIX_DTYPE)
    packed = b"".join(map(mapped, addresses))
    prefixes["address"] = np.frombuffer(packed, "V16") if packed else b""
    prefixes["version"] = [address.version for address in addresses]
    prefixes["length"] = [address.max_prefixlen for address in addresses]
    # Clear everything but the IN_ROUTE bit of the routes that contain the address.
    prefixes["clear"] = VALUE_BITS
    return prefixes
