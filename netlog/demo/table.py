"""What the demo shows a person: messages as a table, and the verdict as another."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from netlog.demo.reconcile import Verdict
from netlog.display.terminal import CLASS_COLORS, Style
from netlog.display.units import binary_size
from netlog.model.classes import CLASSES
from netlog.model.protocols import protocol_name

__all__ = ["header", "message_lines", "verdict_lines"]

ROWS_PER_CLASS = 4
"""Connections shown of a message's class; the rest of them is summed up in one row."""

FORM = "{node:<5}{kind:<10}{proto:<8}{src:<28}{dst:<28}{tx:>17}{rx:>17}"


def header(style: Style) -> str:
    """The names of the columns."""
    names = {"node": "node", "kind": "class", "proto": "proto", "src": "source"}
    return style.paint(FORM.format(**names, dst="destination", tx="sent", rx="received"), "1")


def message_lines(message: Mapping[str, Any], style: Style) -> Iterator[str]:
    """A message as rows of the table, the busiest connections of each class first.

    Args:
        message: as read from its JSON text.
        style: colour, or none.
    """
    node, start, end = message["nodeId"], _time_of_day(message["start"]), message["end"]
    yield style.paint(f"{node}: {start} to {_time_of_day(end)} UTC", "2")
    for kind in CLASSES:
        entries = sorted(message.get(f"{kind}Traffic", ()), key=_bytes_of, reverse=True)
        shown = entries if len(entries) <= ROWS_PER_CLASS + 1 else entries[:ROWS_PER_CLASS]
        for entry in shown:
            yield style.paint(_row(node, kind, entry), CLASS_COLORS[kind])
        if len(entries) > len(shown):
            rest = entries[len(shown) :]
            summed = {
                member: sum(entry.get(member, 0) for entry in rest)
                for member in ("txPkts", "txBytes", "rxPkts", "rxBytes")
            }
            row = _row(node, kind, summed | {"proto": -1}, f"({len(rest)} more)")
            yield style.paint(row, CLASS_COLORS[kind])


def verdict_lines(verdict: Verdict, style: Style) -> Iterator[str]:
    """The comparison as a table, with one line at the end that says how it came out."""
    form = "{:<6}{:<6}{:<12}{:>16}{:>16}   {}"
    yield style.paint(form.format("node", "at", "count", "messages", "kernel", ""), "1")
    for line in verdict.lines:
        mark = "equal" if line.agrees else style.paint("DIFFERENT", "1;31")
        count = line.count.replace("_", " ")
        yield form.format(line.node, line.point, count, line.metered, line.kernel, mark)
    yield "at tun: the kernel's counters of the TUN; at sock: those of the link between a and b,"
    yield "less 42 bytes of Ethernet, IPv4 and UDP headers a datagram"
    total = sum(totals.messages for totals in verdict.totals.values())
    if verdict.reconciled:
        yield style.paint(f"reconciled: {total} messages agree with the kernel exactly", "1;32")
    else:
        yield style.paint(f"NOT reconciled: {total} messages do not account for it all", "1;31")


def _row(node: str, kind: str, entry: Mapping[str, Any], instead: str = "") -> str:
    number = entry.get("proto", 0)
    proto = protocol_name(number) if number > 0 else ""
    return FORM.format(
        node=node,
        kind=kind,
        proto=proto,
        src=instead or _address(entry, "src"),
        dst=_address(entry, "dst"),
        tx=_counts(entry, "tx"),
        rx=_counts(entry, "rx"),
    )


def _address(entry: Mapping[str, Any], member: str) -> str:
    text = str(entry.get(member, ""))
    return text.removesuffix(":0") if text else "-"


def _counts(entry: Mapping[str, Any], direction: str) -> str:
    packets = entry.get(f"{direction}Pkts", 0)
    size = binary_size(entry.get(f"{direction}Bytes", 0))
    return f"{packets:>5} {size:>10}" if packets else "-"


def _bytes_of(entry: Mapping[str, Any]) -> int:
    return int(entry.get("txBytes", 0)) + int(entry.get("rxBytes", 0))


def _time_of_day(text: str) -> str:
    moment = dt.datetime.fromisoformat(text)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
