"""Shows messages as tables for a person."""

from collections.abc import Iterable, Iterator

from netlog.display.terminal import CLASS_COLORS, Style, printable
from netlog.display.units import binary_rate, binary_size, counted, decimal_rate
from netlog.fmt.names import Names
from netlog.fmt.record import Entry, FlowLog
from netlog.model.classes import CLASSES
from netlog.model.loss import Loss
from netlog.model.times import format_rfc3339

__all__ = ["TextTable"]

MIN_END_WIDTH = 21
"""The length of `100.127.255.254:65535`, so that all tables of IPv4 have the same columns."""
BOLD, FAINT = "1", "2"
UNKNOWN = "-"
COUNTS = ("sent pkt/s", "sent B/s", "received pkt/s", "received B/s", "bytes")
COLUMNS = "{:>12}{:>12}{:>16}{:>14}{:>12}"


class TextTable:
    """One table per message, with the busiest connections first, and a total at the end.

    Args:
        style: whether the output has colour.
        names: how to show the addresses of nodes.
    """

    def __init__(self, style: Style, names: Names) -> None:
        self._style = style
        self._names = names
        self._n_messages = 0
        self._sums: dict[str, Entry] = {}
        self._n_connections: dict[str, int] = {}
        self._dropped = Loss()
        self._n_shown = 0

    def begin(self) -> Iterable[str]:
        """No lines before the first message."""
        return ()

    def record(self, record: FlowLog) -> Iterator[str]:
        """The lines of a message."""
        if self._n_shown:
            yield ""
        self._n_shown += 1
        if record.dropped is not None:
            self._dropped += record.dropped
            yield self._style.paint(f"{self._node(record)}  {_loss_line(record.dropped)}", BOLD)
            if not record.traffic:
                return
        self._n_messages += 1
        yield self._style.paint(self._title(record), BOLD)
        rows = {
            kind: [
                (printable(entry.protocol), *self._ends(record, entry), entry)
                for entry in sorted(record.traffic[kind], key=_n_bytes, reverse=True)
            ]
            for kind in CLASSES
            if kind in record.traffic
        }
        if not rows:
            yield "no traffic"
            return
        ends = [row[1:3] for group in rows.values() for row in group]
        source = max(MIN_END_WIDTH, *(len(src) for src, _ in ends))
        destination = max(MIN_END_WIDTH, *(len(dst) for _, dst in ends))
        head = f"{'':12}{'source':<{source}}  {'destination':<{destination}}"
        yield self._style.paint(head + COLUMNS.format(*COUNTS), FAINT)
        period_s = record.period_s
        for kind, group in rows.items():
            total = self._add(kind, [row[3] for row in group])
            line = f"{kind:<{len(head)}}" + COLUMNS.format(*_cells(total, period_s))
            yield self._style.paint(line, CLASS_COLORS[kind])
            if len(group) == 1 and not group[0][1] and not group[0][2]:
                continue  # the line of the class already shows a sum without addresses
            for protocol, src, dst, entry in group:
                left = (
                    f"  {protocol:<10}{src or UNKNOWN:<{source}}  {dst or UNKNOWN:<{destination}}"
                )
                yield left + COLUMNS.format(*_cells(entry, period_s))

    def end(self) -> Iterator[str]:
        """The total over all messages, if there were several."""
        if self._n_shown <= 1:
            return
        yield ""
        yield self._style.paint(f"total of {counted(self._n_messages, 'message')}", BOLD)
        names = ("connections", "sent packets", "bytes", "received packets", "bytes")
        form = "{:<10}" + "".join(f"{{:>{len(name) + 6}}}" for name in names)
        yield self._style.paint(form.format("", *names), FAINT)
        for kind, total in self._sums.items():
            cells = (
                str(self._n_connections[kind]),
                str(total.tx_pkts),
                binary_size(total.tx_bytes),
                str(total.rx_pkts),
                binary_size(total.rx_bytes),
            )
            yield self._style.paint(form.format(kind, *cells), CLASS_COLORS[kind])
        if self._dropped:
            yield _loss_line(self._dropped)

    def _node(self, record: FlowLog) -> str:
        return printable(self._names.of_reporter(record)) or "node unknown"

    def _title(self, record: FlowLog) -> str:
        parts = [self._node(record)]
        if record.start_ns is not None:
            parts.append(format_rfc3339(record.start_ns // 1_000_000 * 1_000_000))
        period_s = record.period_s
        parts.append("period unknown" if period_s is None else f"{period_s:.3f} s")
        return "  ".join(parts)

    def _ends(self, record: FlowLog, entry: Entry) -> tuple[str, str]:
        src = self._names.of_end(record, entry.src)
        return printable(src), printable(self._names.of_end(record, entry.dst))

    def _add(self, kind: str, entries: list[Entry]) -> Entry:
        total = Entry(
            tx_pkts=sum(entry.tx_pkts for entry in entries),
            tx_bytes=sum(entry.tx_bytes for entry in entries),
            rx_pkts=sum(entry.rx_pkts for entry in entries),
            rx_bytes=sum(entry.rx_bytes for entry in entries),
        )
        self._n_connections[kind] = self._n_connections.get(kind, 0) + len(entries)
        grand = self._sums.setdefault(kind, Entry())
        grand.tx_pkts += total.tx_pkts
        grand.tx_bytes += total.tx_bytes
        grand.rx_pkts += total.rx_pkts
        grand.rx_bytes += total.rx_bytes
        return total


def _loss_line(loss: Loss) -> str:
    size = binary_size(loss.n_bytes)
    messages, packets = counted(loss.messages, "message"), counted(loss.packets, "packet")
    return f"dropped: {messages}, {packets}, {size}"


def _n_bytes(entry: Entry) -> int:
    return entry.n_bytes


def _cells(entry: Entry, period_s: float | None) -> tuple[str, ...]:
    if period_s is None:
        return (*(UNKNOWN,) * 4, binary_size(entry.n_bytes))
    return (
        decimal_rate(entry.tx_pkts / period_s),
        binary_rate(entry.tx_bytes / period_s),
        decimal_rate(entry.rx_pkts / period_s),
        binary_rate(entry.rx_bytes / period_s),
        binary_size(entry.n_bytes),
    )
