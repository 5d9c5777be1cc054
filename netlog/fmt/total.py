"""Sums over messages: for each node, one message with the sum of all its messages."""

from collections.abc import Iterator

import msgspec

from netlog.fmt.record import Address, Entry, FlowLog, Node
from netlog.model.loss import Loss

__all__ = ["Total"]


class _NodeTotal(msgspec.Struct):
    own: Node
    start_ns: int | None = None
    end_ns: int | None = None
    nodes: dict[Address, Node] = {}
    dropped: Loss = Loss()
    traffic: dict[str, dict[tuple[object, ...], Entry]] = {}


class Total:
    """Adds up messages. Its memory grows with the number of different connections.

    Thread safety: one thread.
    """

    def __init__(self) -> None:
        self._by_node: dict[str, _NodeTotal] = {}

    def add(self, record: FlowLog) -> None:
        """Add the counts of a message to those of its node."""
        total = self._by_node.setdefault(record.node_id, _NodeTotal(record.own))
        if record.dropped is None:
            total.own = record.own  # the newest description of a node applies
        total.nodes |= record.nodes
        total.dropped += record.dropped or Loss()
        moments = [ns for ns in (total.start_ns, record.start_ns) if ns is not None]
        total.start_ns = min(moments, default=None)
        moments = [ns for ns in (total.end_ns, record.end_ns) if ns is not None]
        total.end_ns = max(moments, default=None)
        for kind, entries in record.traffic.items():
            sums = total.traffic.setdefault(kind, {})
            for entry in entries:
                number = entry.protocol_number
                proto = entry.proto if number is None else number
                key = (proto, entry.src or "", entry.dst or "")
                into = sums.get(key)
                if into is None:
                    into = sums[key] = Entry(proto, entry.src or "", entry.dst or "")
                into.tx_pkts += entry.tx_pkts
                into.tx_bytes += entry.tx_bytes
                into.rx_pkts += entry.rx_pkts
                into.rx_bytes += entry.rx_bytes

    def records(self) -> Iterator[FlowLog]:
        """One message per node, from the start of its first period to the end of its last one."""
        for node_id, total in self._by_node.items():
            traffic = {kind: list(sums.values()) for kind, sums in total.traffic.items()}
            yield FlowLog(
                node_id,
                total.start_ns,
                total.end_ns,
                traffic,
                total.own,
                total.nodes,
                dropped=total.dropped or None,
            )
