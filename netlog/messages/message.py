"""A message: the traffic of a node in a period, or a part of it, and its JSON form."""

from collections.abc import Iterable
from typing import Self

import numpy as np

from netlog.messages.classify import Traffic
from netlog.messages.header import MessageHeader, dst_nodes_text, src_node_text
from netlog.messages.read import read_message
from netlog.messages.split import MEMBERS, Part, Section, split_messages
from netlog.model.flows import NO_FLOWS, FlowArray, as_flow_array
from netlog.model.nodes import Node
from netlog.model.times import format_rfc3339

__all__ = ["Message"]


class Message:
    """The traffic of one node in one period, or a part of it; read-only.

    Args:
        node_id: the node that reports; lone surrogates become U+FFFD.
        start_ns: the period's first nanosecond, since the epoch.
        end_ns: the period's last nanosecond, since the epoch.
        src_node: the node that reports; None: not known.
        dst_nodes: the other nodes, in the order of the message.
        virtual_traffic: FLOW_DTYPE, shape (n,), in the order of the message; copied. None: empty.
        subnet_traffic: as for `virtual_traffic`.
        exit_traffic: as for `virtual_traffic`.
        physical_traffic: as for `virtual_traffic`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the end is before the start, a time is out of range, or an array does not have
            exactly one dimension.

    Thread safety: any thread.
    Source: types/netlogtype of Tailscale.
    """

    __slots__ = ("_dst_nodes", "_json", "_period", "_src_node", "_traffic")

    def __init__(  # noqa: PLR0913 - the members of a message
        self,
        node_id: str,
        start_ns: int,
        end_ns: int,
        *,
        src_node: Node | None = None,
        dst_nodes: Iterable[Node] = (),
        virtual_traffic: FlowArray | None = None,
        subnet_traffic: FlowArray | None = None,
        exit_traffic: FlowArray | None = None,
        physical_traffic: FlowArray | None = None,
    ) -> None:
        traffic = {
            Traffic.VIRTUAL: virtual_traffic,
            Traffic.SUBNET: subnet_traffic,
            Traffic.EXIT: exit_traffic,
            Traffic.PHYSICAL: physical_traffic,
        }
        self._period = MessageHeader.checked(node_id, start_ns, end_ns)
        self._json: bytes | None = None
        self._src_node = src_node
        self._dst_nodes = tuple(dst_nodes)
        for node in (*self._dst_nodes, *(() if src_node is None else (src_node,))):
            if not isinstance(node, Node):
                raise TypeError(f"src_node, dst_nodes: expected a Node, got {node!r}")
        self._traffic = {
            kind: _freeze(as_flow_array(rows, MEMBERS[kind]).copy())
            for kind, rows in traffic.items()
        }

    @classmethod
    def of_part(cls, period: MessageHeader, src_node: Node | None, part: Part) -> Self:
        """Make a message of a part that is already written; nothing is copied."""
        traffic = {piece.traffic: piece.gather() for piece in part.pieces}
        return cls._built(period, src_node, part.nodes, traffic, part.text)

    @classmethod
    def _built(
        cls,
        period: MessageHeader,
        src_node: Node | None,
        dst_nodes: tuple[Node, ...],
        traffic: dict[Traffic, FlowArray],
        text: bytes | None,
    ) -> Self:
        """Make a message of checked members, and its text if it is known; nothing is copied."""
        message = cls.__new__(cls)
        message._period = period  # noqa: SLF001 - its own
        message._src_node = src_node  # noqa: SLF001 - its own
        message._dst_nodes = dst_nodes  # noqa: SLF001 - its own
        message._json = text  # noqa: SLF001 - its own
        message._traffic = {kind: _freeze(rows) for kind, rows in traffic.items()}  # noqa: SLF001
        return message

    @property
    def node_id(self) -> str:
        """The id of the node that reports."""
        return self._period.node_id

    @property
    def start_ns(self) -> int:
        """The period's first nanosecond, since the epoch."""
        return self._period.start_ns

    @property
    def end_ns(self) -> int:
        """The period's last nanosecond, since the epoch."""
        return self._period.end_ns

    @property
    def src_node(self) -> Node | None:
        """The node that reports; None: not known."""
        return self._src_node

    @property
    def dst_nodes(self) -> tuple[Node, ...]:
        """The other nodes whose addresses are in the entries, in the order of the message."""
        return self._dst_nodes

    @property
    def virtual_traffic(self) -> FlowArray:
        """Connections between overlay addresses; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.VIRTUAL, NO_FLOWS)

    @property
    def subnet_traffic(self) -> FlowArray:
        """Connections with an address behind a subnet router; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.SUBNET, NO_FLOWS)

    @property
    def exit_traffic(self) -> FlowArray:
        """All other connections in the tunnel; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.EXIT, NO_FLOWS)

    @property
    def physical_traffic(self) -> FlowArray:
        """The datagrams that carried the tunnel; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.PHYSICAL, NO_FLOWS)

    @property
    def packets(self) -> int:
        """The packets of all entries, in both directions."""
        return self._sum("tx_packets") + self._sum("rx_packets")

    @property
    def n_bytes(self) -> int:
        """The bytes of all entries, in both directions."""
        return self._sum("tx_bytes") + self._sum("rx_bytes")

    def _sum(self, counter: str) -> int:
        return sum(int(rows[counter].sum(dtype=np.uint64)) for rows in self._traffic.values())

    def to_json(self) -> bytes:
        """Write the message as one JSON object.

        Returns:
            UTF-8 without insignificant white space. Zero and empty members are left out.
        """
        if self._json is None:
            header = self._period.header() + src_node_text(self._src_node)
            header += dst_nodes_text(self._dst_nodes)
            sections = [
                Section(kind, rows, np.arange(len(rows), dtype=np.uint32))
                for kind, rows in self._traffic.items()
            ]
            unlimited = 1 << 62
            parts = split_messages(header, sections, unlimited)
            self._json = next((part.text for part in parts), header + b"}")
        return self._json

    @classmethod
    def from_json(cls, data: bytes | bytearray | str) -> Self:
        """Read a message.

        Args:
            data: one JSON object. Addresses may be absent or "". A protocol may be a name. Unknown
                members, and nodes without an id, are ignored.

        Returns:
            The message, with its entries in the given order.

        Raises:
            ValueError: `data` is not such an object.

        Thread safety: any thread.
        """
        wire = read_message(data)
        period = MessageHeader(wire.node_id, wire.start_ns, wire.end_ns)
        return cls._built(period, wire.src_node, wire.dst_nodes, wire.traffic, None)

    def __eq__(self, other: object) -> bool:
        """Whether both messages have the same text."""
        if not isinstance(other, Message):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self._period)

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{len(rows)} {kind.name.lower()}" for kind, rows in self._traffic.items()
        )
        return f"<Message {self.node_id!r} {format_rfc3339(self.start_ns)}: {sizes or 'empty'}>"


def _freeze(rows: FlowArray) -> FlowArray:
    rows.flags.writeable = False
    return rows
