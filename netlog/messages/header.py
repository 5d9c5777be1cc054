"""The text of a message around its entries, and how many bytes a message needs at least.

This module loads neither numpy nor the core: the check of a configuration needs it.
"""

from dataclasses import dataclass
from typing import Self

import msgspec

from netlog.model.classes import MEMBERS
from netlog.model.nodes import MAX_NODE_BYTES, Node
from netlog.model.times import Moment, format_rfc3339, to_ns
from netlog.model.wire import well_formed

__all__ = [
    "DST_NODES",
    "MAX_BYTES",
    "MAX_ENTRY_BYTES",
    "MOST_NODE_BYTES",
    "SRC_NODE",
    "MessageHeader",
    "dst_nodes_text",
    "least_bytes",
    "src_node_text",
]

MAX_BYTES = 256 * 1024
"""The greatest size of a message. Source: maxLogSize of Tailscale's wgengine/netlog."""
MAX_ENTRY_BYTES = 248
"""The longest entry and a comma: netlog_encode_max_entry_bytes of csrc/rows/encode.h."""

SRC_NODE = b',"srcNode":'
DST_NODES = b',"dstNodes":['
MOST_NODE_BYTES = len(SRC_NODE) + len(DST_NODES) + 3 * MAX_NODE_BYTES + 2 * len(",")
"""The node that reports and the two of an entry, if each has the greatest length."""


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """The node that reports, and the period."""

    node_id: str
    start_ns: int
    end_ns: int

    def header(self) -> bytes:
        """The beginning of a message's text: from the brace to the end of the period."""
        node_id = msgspec.json.encode(self.node_id).decode()
        start, end = format_rfc3339(self.start_ns), format_rfc3339(self.end_ns)
        return f'{{"nodeId":{node_id},"start":"{start}","end":"{end}"'.encode()

    @classmethod
    def checked(cls, node_id: str, start: Moment, end: Moment) -> Self:
        """Make a header from a caller's arguments.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: the end is before the start, or a time is out of range.
        """
        if not isinstance(node_id, str):
            raise TypeError(f"node_id: expected a str, got {node_id!r}")
        # The encoder does not accept subclasses of str; well_formed() returns a plain str.
        period = cls(well_formed(node_id), to_ns(start, "start"), to_ns(end, "end"))
        if period.end_ns < period.start_ns:
            raise ValueError(f"the end {end} is before the start {start}")
        period.header()  # raises if a time cannot be written
        return period


def src_node_text(node: Node | None) -> bytes:
    """The JSON member with the node that reports; empty if it is not known."""
    return SRC_NODE + node.to_json() if node is not None else b""


def dst_nodes_text(nodes: tuple[Node, ...]) -> bytes:
    """The JSON member with the other nodes; empty if there are none."""
    return DST_NODES + b",".join(node.to_json() for node in nodes) + b"]" if nodes else b""


def least_bytes(node_id: str) -> int:
    """How many bytes a message needs at least for its longest entry, without nodes.

    Args:
        node_id: the node that reports.

    Raises:
        TypeError: `node_id` is not a str.

    Thread safety: any thread.
    """
    longest_ns = to_ns("9999-12-31T23:59:59.999999999Z", "end")
    header = MessageHeader.checked(node_id, longest_ns, longest_ns).header()
    section = max(map(len, MEMBERS.values())) + len(',"":[]}')
    return len(header) + section + MAX_ENTRY_BYTES - len(",")
