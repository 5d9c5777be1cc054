"""Selects messages and connections."""

import re
import time
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

import msgspec

from netlog.fmt.record import Endpoint, Entry, FlowLog, endpoint
from netlog.model.classes import CLASSES
from netlog.model.times import parse_rfc3339

__all__ = ["Connection", "Predicate", "Selection", "parse_moment"]

UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)


class Connection(NamedTuple):
    """A row of a message, with everything that a condition may test."""

    record: FlowLog
    kind: str
    entry: Entry

    def ends(self, side: str) -> tuple[Endpoint, ...]:
        """The endpoints on a side: `src`, `dst`, or "" for both. Absent ones are left out."""
        sides = {"src": (self.entry.src,), "dst": (self.entry.dst,)}
        texts = sides.get(side, (self.entry.src, self.entry.dst))
        return tuple(endpoint(text) for text in texts if text)


Predicate: TypeAlias = Callable[[Connection], bool]


class Selection(msgspec.Struct, frozen=True):
    """The conditions that messages and connections must meet.

    Messages without a period are not selected if `since_ns` or `until_ns` is given.

    Args:
        classes: traffic classes; all of them by default.
        since_ns: only messages whose period ends at this moment or later; ns since the epoch.
        until_ns: only messages whose period begins before this moment; ns since the epoch.
        predicate: only connections for which it is true; None: all connections.
    """

    classes: Collection[str] = CLASSES
    since_ns: int | None = None
    until_ns: int | None = None
    predicate: Predicate | None = None

    def apply(self, record: FlowLog) -> FlowLog | None:
        """Select the connections of a message.

        Returns:
            The message with the selected connections; the same object if all are selected; None if
            the message or all of its connections are not selected.
        """
        if not self._in_time(record):
            return None
        if self.predicate is None and all(kind in self.classes for kind in record.traffic):
            # A message without connections is selected, unless only certain classes are requested.
            return record if record.traffic or len(self.classes) == len(CLASSES) else None
        kept = {}
        for kind, entries in record.traffic.items():
            if kind not in self.classes:
                continue
            indices = [
                index
                for index, entry in enumerate(entries)
                if self.predicate is None or self.predicate(Connection(record, kind, entry))
            ]
            if indices:
                kept[kind] = indices
        return record.with_traffic(kept) if kept else None

    def _in_time(self, record: FlowLog) -> bool:
        start_ns = record.end_ns if record.start_ns is None else record.start_ns
        end_ns = record.start_ns if record.end_ns is None else record.end_ns
        if self.since_ns is not None and (end_ns is None or end_ns < self.since_ns):
            return False
        return self.until_ns is None or (start_ns is not None and start_ns < self.until_ns)


def parse_moment(text: str, now_ns: Callable[[], int] = time.time_ns) -> int:
    """Read a moment from the command line.

    Args:
        text: RFC 3339, or how long ago: `90s`, `10m`, `2h`, `3d`, `1w`.
        now_ns: the clock.

    Returns:
        Nanoseconds since the epoch.

    Raises:
        ValueError: the text has another form.
    """
    if match := AGO.fullmatch(text):
        return now_ns() - int(match[1]) * UNIT_S[match[2]] * 1_000_000_000
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise ValueError(
            f"{text!r}: expected a time such as 2022-10-01T00:00:05Z, or how long ago: "
            "90s, 10m, 2h, 3d, 1w"
        ) from None
