"""Splits the entries of a period into JSON objects of bounded size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netlog._native import ffi, lib
from netlog.messages.classify import Traffic
from netlog.messages.header import dst_nodes_text
from netlog.messages.named_nodes import NamedNodes
from netlog.model.flows import FLOW_DTYPE, FlowArray
from netlog.model.nodes import Node

__all__ = ["MEMBERS", "Part", "Piece", "Section", "split_messages"]

MEMBERS = {
    Traffic.VIRTUAL: "virtualTraffic",
    Traffic.SUBNET: "subnetTraffic",
    Traffic.EXIT: "exitTraffic",
    Traffic.PHYSICAL: "physicalTraffic",
}
"""The arrays of a message, in the order of the message."""

_OPENINGS = {traffic: f',"{name}":['.encode() for traffic, name in MEMBERS.items()}
_CLOSING = b"]}"

# Entries that are written before the bytes of their nodes are added. Entries that do not fit then
# are written again into the next object.
_ENTRIES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Section:
    """The entries of one class, in the order in which they are written.

    Attributes:
        traffic: the class.
        flows: FLOW_DTYPE, shape (m,), C-contiguous.
        order: uint32, shape (n,): the indices of the rows of `flows`, in this order.
        numbers: uint32, shape (m, 2): the numbers of the nodes at both ends of a row, 0 for no
            node; None if nodes are not known.
    """

    traffic: Traffic
    flows: FlowArray
    order: npt.NDArray[np.uint32]
    numbers: npt.NDArray[np.uint32] | None = None


class _SectionView:
    """A section in the core's form. It keeps the section's memory alive."""

    __slots__ = ("flows", "opening", "order", "section", "traffic")

    def __init__(self, section: Section) -> None:
        self.section = section
        self.traffic = section.traffic
        self.opening = _OPENINGS[section.traffic]
        self.flows = ffi.from_buffer("struct netlog_flow[]", section.flows)
        self.order = ffi.from_buffer("uint32_t[]", section.order)

    def numbers(self, start: int, stop: int) -> npt.NDArray[np.uint32]:
        """The numbers of the nodes of entries `start` to `stop` - 1, shape (n, 2)."""
        numbers, rows = self.section.numbers, self.section.order[start:stop]
        return np.zeros((len(rows), 2), np.uint32) if numbers is None else numbers[rows]


class Piece(NamedTuple):
    """The part of a section that one object holds: entries `start` to `stop` - 1."""

    source: _SectionView
    start: int
    stop: int

    @property
    def traffic(self) -> Traffic:
        """The section's class."""
        return self.source.traffic

    def gather(self) -> FlowArray:
        """Copy the rows."""
        n = self.stop - self.start
        rows = np.empty(n, FLOW_DTYPE)
        order = self.source.order + self.start
        out = ffi.from_buffer("struct netlog_flow[]", rows)
        lib.netlog_gather_flows(self.source.flows, order, n, out)
        return rows


class Part(NamedTuple):
    """One object: its text, the pieces that are in it, and the nodes that it names."""

    text: bytes
    pieces: list[Piece]
    nodes: tuple[Node, ...]


def split_messages(
    header: bytes, sections: Sequence[Section], max_bytes: int, named: NamedNodes | None = None
) -> Iterator[Part]:
    """Write the sections as JSON objects, each as full as possible.

    Args:
        header: the object's beginning, from the brace to the last member before `dstNodes`.
        sections: the sections, in the order of the members. Empty sections are left out.
        max_bytes: the greatest size of an object.
        named: all nodes. Each object names those that its entries show. None: objects name no
            nodes.

    Yields:
        One object after the other.

    Raises:
        ValueError: an entry does not fit even into an empty object.

    Thread safety: the rows must not change until the iterator is exhausted.
    """
    rows = sum(len(section.order) for section in sections)
    longest = len(header) + sum(map(len, _OPENINGS.values())) + 2 * len(MEMBERS) + 1
    longest += rows * lib.netlog_encode_max_entry_bytes
    # One buffer serves all objects. It begins with the header, which is written only once.
    buffer = bytearray(min(max_bytes, longest))
    if len(buffer) > len(header):
        buffer[: len(header)] = header
    writer = _Writer(buffer, len(header), max_bytes, named)
    rest = [
        Piece(_SectionView(section), 0, len(section.order))
        for section in sections
        if len(section.order)
    ]
    while rest:
        pieces = writer.fill(rest)
        if not pieces:
            raise ValueError(f"max_bytes {max_bytes}: an entry does not fit into a message")
        nodes = named.nodes() if named is not None else ()
        yield Part(writer.text(nodes), pieces, nodes)


class _Writer:
    """Writes one object after the other into the same buffer. `text` inserts the nodes."""

    __slots__ = (
        *("_buffer", "_encoded", "_ends", "_header_bytes", "_max_bytes"),
        *("_roster", "_text", "_used"),
    )

    def __init__(
        self, buffer: bytearray, header_bytes: int, max_bytes: int, named: NamedNodes | None
    ) -> None:
        self._buffer = buffer
        self._text = ffi.from_buffer("char[]", buffer)
        self._encoded = ffi.new("size_t *")
        self._ends = np.zeros(_ENTRIES_AT_ONCE, np.uint64)
        self._header_bytes = header_bytes
        self._max_bytes = max_bytes
        self._roster = named
        self._used = 0

    def text(self, nodes: tuple[Node, ...]) -> bytes:
        """Return a copy of the object, with the nodes inserted after the header."""
        text = memoryview(self._buffer)[: self._used]
        if not nodes:
            return bytes(text)
        middle = self._header_bytes
        return b"".join((text[:middle], dst_nodes_text(nodes), text[middle:]))

    def fill(self, rest: list[Piece]) -> list[Piece]:
        """Write as much of `rest` as fits, and remove it from `rest`; empty if nothing fits."""
        self._used = self._header_bytes
        if self._roster is not None:
            self._roster.begin()
        pieces: list[Piece] = []
        while rest:
            source, start, end = rest[0]
            stop = self._append(source, start, end)
            if stop > start:
                pieces.append(Piece(source, start, stop))
            if stop < end:
                rest[0] = Piece(source, stop, end)
                break
            del rest[0]
        if pieces:
            self._buffer[self._used : self._used + 1] = b"}"
            self._used += 1
        return pieces

    def _append(self, source: _SectionView, start: int, stop: int) -> int:
        """Write an array with as many entries as fit, or nothing; return the first entry left."""
        at = self._used + len(source.opening)
        done = start
        while done < stop:
            comma = int(done > start)
            wanted = stop - done if self._roster is None else min(stop - done, _ENTRIES_AT_ONCE)
            count, written = self._encode(source, done, wanted, at + comma)
            if not count:
                break
            self._buffer[at : at + comma] = b","[:comma]
            at += comma + written
            done += count
            if count < wanted:
                break
        if done > start:
            begin = self._used + len(source.opening)
            self._buffer[self._used : begin] = source.opening
            self._buffer[at : at + 1] = b"]"
            self._used = at + 1
        return done

    def _encode(self, source: _SectionView, start: int, n: int, at: int) -> tuple[int, int]:
        """Write at most `n` entries from byte `at` on; return how many fit, and their bytes."""
        named = self._roster
        named_bytes = named.n_bytes if named is not None else 0
        left = self._max_bytes - named_bytes - at - len(_CLOSING)
        room = min(left, len(self._buffer) - at - len(_CLOSING))
        if room <= 0:
            return 0, 0
        written: int = lib.netlog_encode_flows(
            source.flows,
            source.order + start,
            n,
            self._text + at,
            room,
            self._encoded,
            ffi.NULL if named is None else ffi.from_buffer("uint64_t[]", self._ends),
        )
        count: int = self._encoded[0]
        if named is None or not count:
            return count, written
        ends = self._ends[:count]
        count = named.admit(source.numbers(start, start + count), ends, left)
        return count, int(ends[count - 1]) if count else 0
