"""Reads the JSON form of a message."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from netlog.messages.classify import Traffic
from netlog.model.flows import FlowArray, flow_array
from netlog.model.nodes import Node
from netlog.model.protocols import protocol_number
from netlog.model.times import parse_rfc3339
from netlog.model.wire import WireNode

__all__ = ["WireMessage", "read_message"]


@dataclass(frozen=True, slots=True)
class WireMessage:
    """The members of a message. `traffic` contains only the arrays that are not empty."""

    node_id: str
    start_ns: int
    end_ns: int
    src_node: Node | None
    dst_nodes: tuple[Node, ...]
    traffic: dict[Traffic, FlowArray]


def read_message(data: bytes | bytearray | str) -> WireMessage:
    """Read a message.

    Args:
        data: one JSON object. Addresses may be absent or "". A protocol may be a name. Unknown
            members, and nodes without an id, are ignored.

    Returns:
        Its members, with nodes and entries in the given order.

    Raises:
        ValueError: `data` is not such an object.

    Thread safety: any thread.
    """
    try:
        wire = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a flow log message: {error}") from None
    arrays = {
        Traffic.VIRTUAL: wire.virtual_traffic,
        Traffic.SUBNET: wire.subnet_traffic,
        Traffic.EXIT: wire.exit_traffic,
        Traffic.PHYSICAL: wire.physical_traffic,
    }
    return WireMessage(
        wire.node_id,
        parse_rfc3339(wire.start),
        parse_rfc3339(wire.end),
        next(iter(_read_nodes("srcNode", [wire.src_node])), None),
        _read_nodes("dstNodes", wire.dst_nodes or ()),
        {kind: _read_entries(kind, entries) for kind, entries in arrays.items() if entries},
    )


class _Entry(msgspec.Struct, rename="camel", gc=False):
    proto: int | str = 0  # an example in Tailscale's API description has a name here
    src: str = ""
    dst: str = ""
    tx_pkts: int = 0
    tx_bytes: int = 0
    rx_pkts: int = 0
    rx_bytes: int = 0


class _Wire(msgspec.Struct, rename="camel"):
    start: str
    end: str
    node_id: str = ""  # messages of early Tailscale versions have none
    src_node: WireNode | None = None
    dst_nodes: list[WireNode] | None = None
    virtual_traffic: list[_Entry] | None = None
    subnet_traffic: list[_Entry] | None = None
    exit_traffic: list[_Entry] | None = None
    physical_traffic: list[_Entry] | None = None


_DECODER = msgspec.json.Decoder(_Wire)


def _read_entries(kind: Traffic, entries: list[_Entry]) -> FlowArray:
    try:
        return flow_array(
            (_protocol(e), e.src, e.dst, e.tx_pkts, e.tx_bytes, e.rx_pkts, e.rx_bytes)
            for e in entries
        )
    except ValueError as error:
        raise ValueError(f"{kind.name.lower()} traffic, {error}") from None


def _protocol(entry: _Entry) -> int:
    if isinstance(entry.proto, int):
        return entry.proto
    number = protocol_number(entry.proto) if entry.proto else 0
    if number is None:
        raise ValueError(f"{entry.proto!r}: expected the number or name of a protocol")
    return number


def _read_nodes(member: str, nodes: Iterable[WireNode | None]) -> tuple[Node, ...]:
    try:
        return tuple(
            Node(
                node.node_id,
                node.name or "",
                node.addresses or (),
                node.os or "",
                node.user or "",
                node.tags or (),
            )
            for node in nodes
            if node is not None and node.node_id
        )
    except ValueError as error:
        raise ValueError(f"{member}: {error}") from None
