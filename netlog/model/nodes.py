"""The nodes of the overlay, by address, as messages name them."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, Self, runtime_checkable

import msgspec

from netlog.model.addresses import IPAddress, parse_address
from netlog.model.wire import well_formed

__all__ = [
    "MAX_NODE_BYTES",
    "Node",
    "NodeMap",
    "NodeSource",
    "StaticNodes",
]

MAX_NODE_BYTES = 8192
"""The greatest length of a node's JSON. An entry, its two nodes and the node that reports then take
less than 26 KiB, a tenth of a message."""

_SHOWN_CHARACTERS = 64  # how much of an id the text of an error shows


@dataclass(frozen=True, slots=True, init=False)
class Node:
    """A node of the overlay; compared by its values.

    In every text, lone surrogates become U+FFFD.

    Args:
        node_id: its stable id; not empty.
        name: its DNS name; a final dot is removed.
        addresses: its overlay addresses, as text or `ipaddress` objects; kept as canonical text,
            each once. An IPv4-mapped IPv6 address becomes IPv4. A message shows the first IPv4 and
            the first IPv6 address.
        os: its operating system.
        user: its user; dropped if there are tags.
        tags: its tags; kept sorted, each once.

    Raises:
        TypeError: a text is not a str.
        ValueError: the id is empty, a value is not an address, or the node's JSON is longer than
            `MAX_NODE_BYTES`.

    Thread safety: immutable.
    Source: types/netlogtype of Tailscale.
    """

    node_id: str
    name: str
    addresses: tuple[str, ...]
    os: str
    user: str
    tags: tuple[str, ...]
    # Made only once, because a node is in many messages.
    _json: bytes = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        node_id: str,
        name: str = "",
        addresses: Iterable[str | IPAddress] = (),
        os: str = "",
        user: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        texts = {"node_id": node_id, "name": name, "os": os, "user": user}
        clean = {key: _text(text, key) for key, text in texts.items()}
        if not clean["node_id"]:
            raise ValueError("node_id: expected text that is not empty")
        unique_tags = sorted({_text(tag, "tags") for tag in _items(tags, "tags")} - {""})
        parsed = dict.fromkeys(_address(one) for one in _items(addresses, "addresses"))
        members: dict[str, Any] = {
            "node_id": clean["node_id"],
            "name": clean["name"].rstrip("."),
            "addresses": tuple(map(str, parsed)),
            "os": clean["os"],
            "user": "" if unique_tags else clean["user"],
            "tags": tuple(unique_tags),
        }
        members["_json"] = _encode(members, parsed)
        for key, value in members.items():
            object.__setattr__(self, key, value)

    def to_json(self) -> bytes:
        """The node as it appears in a message.

        Returns:
            A JSON object, UTF-8. Empty members are left out.
        """
        return self._json


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key}: expected a str, got {value!r}")
    return well_formed(value)


def _items(values: Any, key: str) -> Any:  # noqa: ANN401 - a caller may pass anything
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{key}: expected a list, got {values!r}")
    return values


def _address(value: object) -> IPAddress:
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"addresses: {value!r}: expected an IPv4 or IPv6 address")  # noqa: TRY004 - a value
    try:
        address = parse_address(value)
    except ValueError as error:
        raise ValueError(f"addresses: {error}") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError(f"addresses: {value!r}: expected an address without a zone")
    return address


def _encode(members: Mapping[str, Any], addresses: Iterable[IPAddress]) -> bytes:
    first = {address.version: str(address) for address in reversed(tuple(addresses))}
    shown = {
        "nodeId": members["node_id"],
        "name": members["name"],
        "addresses": [first[version] for version in sorted(first)],
        "os": members["os"],
        "user": members["user"],
        "tags": members["tags"],
    }
    text = msgspec.json.encode({key: value for key, value in shown.items() if value})
    if len(text) > MAX_NODE_BYTES:
        raise ValueError(
            f"node {members['node_id'][:_SHOWN_CHARACTERS]!r}: expected at most {MAX_NODE_BYTES} "
            f"bytes as JSON, got {len(text)}"
        )
    return text


@dataclass(frozen=True, slots=True)
class NodeMap:
    """The nodes by address at one moment; compared by its values.

    Args:
        self_node: the node that reports; None: not known.
        by_address: the node at each address; copied. The addresses of `self_node` are added.

    Raises:
        TypeError: a value is not a Node, or a key is not an `ipaddress` address.

    Thread safety: immutable.
    """

    self_node: Node | None = None
    by_address: Mapping[IPAddress, Node] = field(default_factory=dict)
    # Objects that other modules computed from this map, by type. A map serves many periods.
    derived: dict[type, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known: dict[IPAddress, Node] = {}
        for address, node in self.by_address.items():
            if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
                raise TypeError(f"by_address: expected an ipaddress address, got {address!r}")
            if not isinstance(node, Node):
                raise TypeError(f"by_address: {address}: expected a Node, got {node!r}")
            known[_address(address)] = node
        if self.self_node is not None:
            if not isinstance(self.self_node, Node):
                raise TypeError(f"self_node: expected a Node, got {self.self_node!r}")
            known |= _addresses_of(self.self_node)
        object.__setattr__(self, "by_address", MappingProxyType(known))

    def __hash__(self) -> int:
        return hash((self.self_node, frozenset(self.by_address.items())))

    @classmethod
    def merged(cls, maps: Iterable[Self]) -> "NodeMap":
        """Everything that was known in a period.

        Args:
            maps: the maps that were in force, oldest first.

        Returns:
            A map with every address of every map. Newer maps decide which node has an address, and
            what is known of a node. An address that the own node once had stays the own node's.
        """
        every = tuple(maps)
        if len(every) == 1:
            return every[0]
        self_node = None
        self_ids: set[str] = set()
        known: dict[IPAddress, Node] = {}
        by_id: dict[str, Node] = {}
        for one in every:
            known |= one.by_address
            by_id |= {node.node_id: node for node in one.by_address.values()}
            if one.self_node is not None:
                self_node = one.self_node
                self_ids.add(self_node.node_id)
        if self_node is not None:
            by_id |= dict.fromkeys(self_ids, self_node)
        return NodeMap(self_node, {at: by_id[node.node_id] for at, node in known.items()})


@runtime_checkable
class NodeSource(Protocol):
    """An object that knows the nodes of the overlay.

    Thread safety: `snapshot` may be called from any thread.
    """

    def snapshot(self) -> NodeMap | None:
        """The nodes by address now; None: not known yet.

        A source should return the same object until something changes, which saves work.
        """


class StaticNodes:
    """Nodes that never change.

    Args:
        self_node: the node that reports; None: not known.
        peers: all other nodes. A node with the id of `self_node` is ignored.

    Raises:
        TypeError: a value is not a Node.
        ValueError: two different nodes have the same id or the same address.

    Thread safety: immutable.
    """

    __slots__ = ("_map",)

    def __init__(self, self_node: Node | None, peers: Iterable[Node] = ()) -> None:
        owners: dict[IPAddress, Node] = {}
        by_id: dict[str, Node] = {}
        own = NodeMap(self_node).by_address
        for peer in peers:
            if not isinstance(peer, Node):
                raise TypeError(f"peers: expected a Node, got {peer!r}")
            if self_node is not None and peer.node_id == self_node.node_id:
                continue
            if by_id.setdefault(peer.node_id, peer) != peer:
                raise ValueError(f"peers: two different nodes have the id {peer.node_id!r}")
            for address in _addresses_of(peer):
                if address in own or owners.setdefault(address, peer) != peer:
                    other = own.get(address) or owners[address]
                    raise ValueError(
                        f"peers: {other.node_id!r} and {peer.node_id!r} both have {address}"
                    )
        self._map = NodeMap(self_node, owners)

    def snapshot(self) -> NodeMap:
        """The nodes by address: always the same object."""
        return self._map


def _addresses_of(node: Node) -> dict[IPAddress, Node]:
    return {ipaddress.ip_address(text): node for text in node.addresses}
