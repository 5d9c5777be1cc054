"""Messages for programs: CSV with one row per connection, or JSON lines."""

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
    """CSV (RFC 4180, with LF): a header, then one row per connection, in the order of the message.

    Args:
        names: the content of `node`, `src_node` and `dst_node`; ADDRESS: the node's id.
    """

    def __init__(self, names: Names) -> None:
        self._names = Names.ID if names is Names.ADDRESS else names

    def begin(self) -> Iterable[str]:
        """The header line."""
        return (",".join(COLUMNS),)

    def record(self, record: FlowLog) -> Iterator[str]:
        """The rows of a message."""
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
        """No lines."""
        return ()

    def _end(self, record: FlowLog, text: str | None) -> tuple[str, int, str]:
        if not text:
            return "", 0, ""
        end = endpoint(text)
        node = record.node_at(end)
        return end.host, end.port, "" if node is None else self._names.of(node)


class JsonLines:
    """One message per line, with its members as they were read, without unwanted connections."""

    def begin(self) -> Iterable[str]:
        """No lines."""
        return ()

    def record(self, record: FlowLog) -> Iterator[str]:
        """The line of a message."""
        tree = _tree(record) if record.tree is None else record.tree
        yield msgspec.json.encode(tree).decode()

    def end(self) -> Iterable[str]:
        """No lines."""
        return ()


def _period(record: FlowLog) -> tuple[str, str]:
    start, end = (
        "" if ns is None else format_rfc3339(ns) for ns in (record.start_ns, record.end_ns)
    )
    return start, end


def _tree(record: FlowLog) -> dict[str, Any]:
    """The JSON object for a record that was summed up, and so has no object that was read."""
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
