"""Messages for programs: CSV with one row a connection, or one JSON object a line."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from netlog.fmt.names import Names
from netlog.fmt.record import Entry, FlowLog, endpoint
from netlog.model.classes import CLASSES
from netlog.model.times import format_rfc3339

__all__ = ["COLUMNS", "CsvLines", "JsonLines"]

COLUMNS = (
    "node",
    "start",
    "end",
    "class",
    "proto",
    "protocol",
    "src",
    "src_port",
    "src_node",
    "dst",
    "dst_port",
    "dst_node",
    "tx_packets",
    "tx_bytes",
    "rx_packets",
    "rx_bytes",
)


class CsvLines:
    """CSV (RFC 4180, lines end with LF): a header, then one row a connection, in message order.

    Args:
        names: what stands in `node`, `src_node` and `dst_node`; ADDRESS: the node's id.
    """

    def __init__(self, names: Names) -> None:
        self._names = Names.ID if names is Names.ADDRESS else names

    def begin(self) -> Iterable[str]:
        """The header."""
        return (",".join(COLUMNS),)

    def record(self, record: FlowLog) -> Iterator[str]:
        """A message's rows."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for kind in CLASSES:
            for entry in record.traffic.get(kind, ()):
                writer.writerow(
                    (
                        self._names.of_reporter(record),
                        *_period(record),
                        kind,
                        entry.protocol_number or 0,
                        entry.protocol,
                        *self._end(record, entry.src),
                        *self._end(record, entry.dst),
                        entry.tx_pkts,
                        entry.tx_bytes,
                        entry.rx_pkts,
                        entry.rx_bytes,
                    )
                )
        if rows := text.getvalue():
            yield rows.removesuffix("\n")

    def end(self) -> Iterable[str]:
        """Nothing."""
        return ()

    def _end(self, record: FlowLog, text: str | None) -> tuple[str, int, str]:
        if not text:
            return "", 0, ""
        end = endpoint(text)
        node = record.node_at(end)
        return end.host, end.port, "" if node is None else self._names.of(node)


class JsonLines:
    """One message a line, with all of its members as they came, less the unwanted connections."""

    def begin(self) -> Iterable[str]:
        """Nothing."""
        return ()

    def record(self, record: FlowLog) -> Iterator[str]:
        """A message's line."""
        tree = _tree(record) if record.tree is None else record.tree
        yield msgspec.json.encode(tree).decode()

    def end(self) -> Iterable[str]:
        """Nothing."""
        return ()


def _period(record: FlowLog) -> tuple[str, str]:
    start, end = (
        "" if ns is None else format_rfc3339(ns) for ns in (record.start_ns, record.end_ns)
    )
    return start, end


def _tree(record: FlowLog) -> dict[str, Any]:
    """A message of a record that was not read, but summed up."""
    start, end = _period(record)
    tree: dict[str, Any] = {"nodeId": record.node_id}
    tree |= {name: text for name, text in (("start", start), ("end", end)) if text}
    if record.own.addresses:
        tree["srcNode"] = record.own
    others = {node.node_id: node for node in record.nodes.values() if node != record.own}
    if others:
        tree["dstNodes"] = [others[node_id] for node_id in sorted(others)]
    for kind in CLASSES:
        entries: list[Entry] = record.traffic.get(kind, [])
        if entries:
            tree[f"{kind}Traffic"] = entries
    if (loss := record.dropped) is not None:
        counts = {"messages": loss.messages, "packets": loss.packets, "bytes": loss.n_bytes}
        tree["dropped"] = counts
    return tree
