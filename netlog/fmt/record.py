"""Reads flow logs: it finds them in any JSON value, with the nodes that they name."""

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from netlog.fmt.split import ReadError, Value
from netlog.model.classes import MEMBERS
from netlog.model.loss import Loss
from netlog.model.protocols import protocol_name, protocol_number
from netlog.model.times import parse_rfc3339
from netlog.model.wire import WireNode as Node

__all__ = ["Address", "Endpoint", "Entry", "FlowLog", "Node", "endpoint", "read_records"]

PERIOD = ("nodeId", "start", "end")
ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: the start of the empty messages that some Tailscale clients send."""
MALFORMED = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)
"""msgspec's text for invalid JSON; the offset counts from the start of the value."""
MAX_NESTING = 64
"""How deep in other values a flow log is searched for."""

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Entry(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """A connection and its counts. Absent addresses are None or "", as they were read."""

    proto: int | str = 0
    src: str | None = ""
    dst: str | None = ""
    tx_pkts: Count = 0
    tx_bytes: Count = 0
    rx_pkts: Count = 0
    rx_bytes: Count = 0

    @property
    def n_bytes(self) -> int:
        """The bytes in both directions."""
        return self.tx_bytes + self.rx_bytes

    @property
    def protocol(self) -> str:
        """The protocol's name; its number if it has no name; "" if it is unknown."""
        number = self.protocol_number
        return str(self.proto) if number is None else protocol_name(number) if number else ""

    @property
    def protocol_number(self) -> int | None:
        """The protocol's number; 0: unknown; None: the message has a name without a number."""
        if isinstance(self.proto, int):
            return self.proto
        return protocol_number(self.proto) if self.proto else 0


class Wire(msgspec.Struct, rename="camel", omit_defaults=True):
    """The members of a message that are read."""

    node_id: str | None = ""
    start: str | None = ""
    end: str | None = ""
    src_node: Node | None = None
    dst_nodes: list[Node] | None = None
    virtual_traffic: list[Entry] | None = None
    subnet_traffic: list[Entry] | None = None
    exit_traffic: list[Entry] | None = None
    physical_traffic: list[Entry] | None = None
    dropped: Any = None  # a loss in netlog's own streams; may be anything in other streams


class _Envelope(Wire):
    event: Wire | None = None  # Splunk HEC


class Endpoint(NamedTuple):
    """An address with its port: `host` as text, and `address`, or None if the text is not one."""

    host: str
    port: int
    address: Address | None


class FlowLog(msgspec.Struct, frozen=True, eq=False):
    """A flow log message.

    Args:
        node_id: the id of the node that reports.
        start_ns: the period's first nanosecond, since the epoch; None: absent.
        end_ns: the period's last nanosecond, since the epoch; None: absent.
        traffic: the connections of each class.
        own: the node that reports.
        nodes: the nodes that the message names, by address.
        tree: the whole message as JSON values, if the caller requested it.
        dropped: the loss of the node's messages that a sink reports; None: it reports none.
    """

    node_id: str
    start_ns: int | None
    end_ns: int | None
    traffic: dict[str, list[Entry]]
    own: Node = Node()
    nodes: dict[Address, Node] = {}
    tree: dict[str, Any] | None = None
    dropped: Loss | None = None

    @property
    def period_s(self) -> float | None:
        """The length of the period, both ends included; None: unknown, or the ends are reversed."""
        if self.start_ns is None or self.end_ns is None or self.end_ns < self.start_ns:
            return None
        return (self.end_ns - self.start_ns + 1) / 1e9

    def node_at(self, end: Endpoint) -> Node | None:
        """The node with this address, if the message names one."""
        return self.nodes.get(end.address) if end.address is not None else None

    def with_traffic(self, kept: dict[str, list[int]]) -> "FlowLog":
        """A copy of the record with only the connections at these indices."""
        traffic = {
            kind: [self.traffic[kind][index] for index in indices] for kind, indices in kept.items()
        }
        tree = None
        if self.tree is not None:
            tree = {name: value for name, value in self.tree.items() if name not in _KINDS}
            for kind, indices in kept.items():
                member = MEMBERS[kind]
                tree[member] = [self.tree[member][index] for index in indices]
        return msgspec.structs.replace(self, traffic=traffic, tree=tree)


_KINDS = {member: kind for kind, member in MEMBERS.items()}
_DECODE = msgspec.json.Decoder(_Envelope).decode
_DECODE_ANY = msgspec.json.Decoder().decode


def read_records(value: Value, *, keep_tree: bool = False) -> Iterator[FlowLog]:
    """Find the flow logs in a JSON value.

    Args:
        value: any JSON value. Objects that are not flow logs are searched for flow logs.
        keep_tree: keep the whole message, for output as JSON.

    Returns:
        The flow logs. Empty messages of a node that does not know its own id are left out.

    Raises:
        ReadError: the value is not JSON, or a member of a flow log has a wrong value.

    Thread safety: any thread.
    """
    try:
        wire = None if keep_tree else _decode_known(value)
        if wire is not None:
            yield from _record(wire, None)
            return
        for tree in _search(_DECODE_ANY(value.data), 0):
            yield from _record(msgspec.convert(tree, Wire), tree if keep_tree else None)
    except RecursionError:
        raise ReadError("JSON is nested too deeply", value.offset) from None
    except msgspec.ValidationError as error:
        raise ReadError(f"invalid flow log: {error}", value.offset) from None
    except msgspec.DecodeError as error:
        text, at = str(error), 0
        if found := MALFORMED.fullmatch(text):
            text, at = found[1], int(found[2])
        raise ReadError(text, value.offset + at) from None
    except ValueError as error:
        raise ReadError(f"invalid flow log: {error}", value.offset) from None


def _decode_known(value: Value) -> Wire | None:
    """Read the usual forms in one step; None: the value must be searched."""
    try:
        envelope = _DECODE(value.data)
    except msgspec.ValidationError:
        return None  # another value, which may contain a flow log, or an invalid flow log
    for wire in (envelope, envelope.event):
        if wire is not None and (_is_flow_log(wire) or _loss(wire.node_id, wire.dropped)):
            return wire
    return None


def _is_flow_log(wire: Wire) -> bool:
    if wire.node_id and wire.start and wire.end:
        return True
    traffic = (wire.virtual_traffic, wire.subnet_traffic, wire.exit_traffic, wire.physical_traffic)
    return any(entries is not None for entries in traffic)


def _search(value: object, depth: int) -> Iterator[dict[str, Any]]:
    if depth > MAX_NESTING:
        return
    if isinstance(value, dict):
        if any(value.get(member) is not None for member in _KINDS) or all(map(value.get, PERIOD)):
            yield value
            return
        if _loss(value.get("nodeId"), value.get("dropped")):
            yield value
            return
        children = list(value.values())
    elif isinstance(value, list):
        children = value
    else:
        return
    for child in children:
        yield from _search(child, depth + 1)


class _Dropped(msgspec.Struct):
    messages: Count
    packets: Count
    bytes: Count


def _loss(node_id: object, dropped: object) -> Loss | None:
    """The loss that an object reports; None if it reports none."""
    if not isinstance(node_id, str) or not isinstance(dropped, dict):
        return None
    try:
        counts = msgspec.convert(dropped, _Dropped)
    except msgspec.ValidationError:
        return None
    return Loss(counts.messages, counts.packets, counts.bytes) or None


def _record(wire: Wire, tree: dict[str, Any] | None) -> Iterator[FlowLog]:
    if not wire.node_id and wire.start == ZERO_TIME:
        return
    lists = {
        "virtual": wire.virtual_traffic,
        "subnet": wire.subnet_traffic,
        "exit": wire.exit_traffic,
        "physical": wire.physical_traffic,
    }
    nodes: dict[Address, Node] = {}
    own = wire.src_node or Node(wire.node_id or "")
    for node in (*(wire.dst_nodes or ()), own):
        for text in node.addresses or ():
            address = endpoint(text).address
            if address is not None:
                nodes[address] = node
    yield FlowLog(
        wire.node_id or own.node_id,
        parse_rfc3339(wire.start) if wire.start else None,
        parse_rfc3339(wire.end) if wire.end else None,
        {kind: entries for kind, entries in lists.items() if entries},
        own,
        nodes,
        tree,
        _loss(wire.node_id, wire.dropped),
    )


def endpoint(text: str) -> Endpoint:
    """Read an address with or without a port: `1.2.3.4:5`, `[fd7a::1]:5`, `fd7a::1`.

    Args:
        text: an endpoint in a message. An IPv4-mapped IPv6 address becomes IPv4.

    Returns:
        Its parts. If it is not an address, the whole text is the host.
    """
    host, port = text, 0
    head, colon, tail = text.rpartition(":")
    if colon and (text[0] == "[" or ":" not in head) and tail.isascii() and tail.isdigit():
        host, port = head.strip("[]"), int(tail[:6])
    address = _address(host)
    return Endpoint(text, 0, None) if address is None else Endpoint(host, port, address)


@lru_cache(maxsize=65536)
def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
