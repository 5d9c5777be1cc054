"""What the demo prints: messages as a table, and the verdict as another; plain text."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from netlog.demo.reconcile import Verdict
from netlog.display.units import binary_size
from netlog.model.classes import CLASSES, MEMBERS
from netlog.model.protocols import protocol_name

__all__ = [
    "NOTES",
    "ShownRow",
    "header",
    "message_lines",
    "outcome",
    "shown_rows",
    "title",
    "verdict_lines",
]

ROWS_PER_CLASS = 4
"""Connections shown of a message's class; the rest of them is summed up in one row."""
NONE = "-"

FORM = "{node:<5}{kind:<10}{proto:<8}{src:<28}{dst:<28}{tx:>17}{rx:>17}"
NOTES = (
    "at tun: the kernel's counters of the TUN; at sock: those of the link between a and b,",
    "less 42 bytes of Ethernet, IPv4 and UDP headers a datagram",
)
"""What the kernel's numbers of the verdict are."""


class ShownRow(NamedTuple):
    """A connection as it is shown, or several of them; counts are packets and bytes."""

    kind: str
    proto: str
    src: str
    dst: str
    tx: tuple[int, int]
    rx: tuple[int, int]


def title(message: Mapping[str, Any]) -> str:
    """The node that a message is of, and its period."""
    start, end = _time_of_day(message["start"]), _time_of_day(message["end"])
    return f"{message['nodeId']}: {start} to {end} UTC"


def shown_rows(message: Mapping[str, Any]) -> Iterator[ShownRow]:
    """The busiest connections of each class first; the rest of a class is one row.

    Args:
        message: as read from its JSON text.
    """
    for kind in CLASSES:
        entries = sorted(message.get(MEMBERS[kind], ()), key=_bytes_of, reverse=True)
        shown = entries if len(entries) <= ROWS_PER_CLASS + 1 else entries[:ROWS_PER_CLASS]
        for entry in shown:
            number = entry.get("proto", 0)
            proto = protocol_name(number) if number > 0 else ""
            yield _shown(kind, proto, _address(entry, "src"), _address(entry, "dst"), [entry])
        if len(entries) > len(shown):
            rest = entries[len(shown) :]
            yield _shown(kind, "", f"({len(rest)} more)", NONE, rest)


def header() -> str:
    """The names of the columns."""
    names = {"node": "node", "kind": "class", "proto": "proto", "src": "source"}
    return FORM.format(**names, dst="destination", tx="sent", rx="received")


def message_lines(message: Mapping[str, Any]) -> Iterator[str]:
    """A message as rows of the table.

    Args:
        message: as read from its JSON text.
    """
    yield title(message)
    for row in shown_rows(message):
        fields = row._asdict() | {"tx": _counts(row.tx), "rx": _counts(row.rx)}
        yield FORM.format(node=message["nodeId"], **fields)


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The comparison as a table, with one line at the end that says how it came out."""
    form = "{:<6}{:<6}{:<12}{:>16}{:>16}   {}"
    yield form.format("node", "at", "count", "messages", "kernel", "")
    for line in verdict.lines:
        mark = "equal" if line.agrees else "DIFFERENT"
        count = line.count.replace("_", " ")
        yield form.format(line.node, line.point, count, line.metered, line.kernel, mark)
    yield from NOTES
    yield outcome(verdict)


def outcome(verdict: Verdict) -> str:
    """How the comparison came out, in one line."""
    total = sum(totals.messages for totals in verdict.totals.values())
    if verdict.reconciled:
        return f"reconciled: {total} messages agree with the kernel exactly"
    return f"NOT reconciled: {total} messages do not account for it all"


def _shown(kind: str, proto: str, src: str, dst: str, entries: list[dict[str, Any]]) -> ShownRow:
    tx, rx = (
        (
            sum(entry.get(f"{way}Pkts", 0) for entry in entries),
            sum(entry.get(f"{way}Bytes", 0) for entry in entries),
        )
        for way in ("tx", "rx")
    )
    return ShownRow(kind, proto, src, dst, tx, rx)


def _address(entry: Mapping[str, Any], member: str) -> str:
    text = str(entry.get(member, ""))
    return text.removesuffix(":0") if text else NONE


def _counts(counts: tuple[int, int]) -> str:
    packets, n_bytes = counts
    return f"{packets:>5} {binary_size(n_bytes):>10}" if packets else NONE


def _bytes_of(entry: Mapping[str, Any]) -> int:
    return int(entry.get("txBytes", 0)) + int(entry.get("rxBytes", 0))


def _time_of_day(text: str) -> str:
    moment = dt.datetime.fromisoformat(text)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
