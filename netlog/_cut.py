"""Cuts the entries of a period into JSON objects of bounded size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from netlog._native import ffi, lib
from netlog.classify import Traffic
from netlog.flows import FLOW_DTYPE, FlowArray

__all__ = ["MEMBERS", "Piece", "Section", "cut"]

MEMBERS = {
    Traffic.VIRTUAL: "virtualTraffic",
    Traffic.SUBNET: "subnetTraffic",
    Traffic.EXIT: "exitTraffic",
    Traffic.PHYSICAL: "physicalTraffic",
}
"""The arrays of a message, in their order."""

_OPENINGS = {traffic: f',"{name}":['.encode() for traffic, name in MEMBERS.items()}
_CLOSING = b"]}"


@dataclass(frozen=True, slots=True)
class Section:
    """The entries of one class, in the order in which they are written.

    `flows`: FLOW_DTYPE, shape (m,), C-contiguous. `order`: uint32, shape (n,): rows of `flows`.
    """

    traffic: Traffic
    flows: FlowArray
    order: npt.NDArray[np.uint32]


class _Source:
    """A section as the core reads it; keeps its memory."""

    __slots__ = ("flows", "opening", "order", "traffic")

    def __init__(self, section: Section) -> None:
        self.traffic = section.traffic
        self.opening = _OPENINGS[section.traffic]
        self.flows = ffi.from_buffer("struct netlog_flow[]", section.flows)
        self.order = ffi.from_buffer("uint32_t[]", section.order)


class Piece(NamedTuple):
    """The part of a section that one object holds: entries `start` to `stop` - 1."""

    source: _Source
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


def cut(
    header: bytes, sections: Sequence[Section], max_bytes: int
) -> Iterator[tuple[bytes, list[Piece]]]:
    """Write the sections as JSON objects, each as full as it can be.

    Args:
        header: the object's beginning, from the brace to the last member before the arrays.
        sections: in the order of their members; an empty one is left out.
        max_bytes: of an object.

    Yields:
        Each object's text and the pieces that are in it.

    Raises:
        ValueError: an entry does not fit into an object of its own.

    Thread safety: the rows must not change until the iterator is exhausted.
    """
    rows = sum(len(section.order) for section in sections)
    longest = len(header) + sum(map(len, _OPENINGS.values())) + 2 * len(MEMBERS) + 1
    longest += rows * lib.netlog_encode_max_entry_bytes
    # one buffer for all objects, the header once at its beginning
    buffer = bytearray(min(max_bytes, longest))
    if len(buffer) > len(header):
        buffer[: len(header)] = header
    writer = _Writer(buffer, len(header))
    rest = [
        Piece(_Source(section), 0, len(section.order)) for section in sections if len(section.order)
    ]
    while rest:
        pieces = writer.fill(rest)
        if not pieces:
            raise ValueError(f"max_bytes {max_bytes}: an entry does not fit into a message")
        yield writer.text(), pieces


class _Writer:
    """Writes one object after the other into the same buffer."""

    __slots__ = ("_buffer", "_encoded", "_header_bytes", "_text", "_used")

    def __init__(self, buffer: bytearray, header_bytes: int) -> None:
        self._buffer = buffer
        self._text = ffi.from_buffer("char[]", buffer)
        self._encoded = ffi.new("size_t *")
        self._header_bytes = header_bytes
        self._used = 0

    def text(self) -> bytes:
        """Return a copy of the object."""
        return bytes(memoryview(self._buffer)[: self._used])

    def fill(self, rest: list[Piece]) -> list[Piece]:
        """Write as much of `rest` as fits, and take it from there; if nothing fits, no object."""
        self._used = self._header_bytes
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

    def _append(self, source: _Source, start: int, stop: int) -> int:
        """Write an array with as many entries as fit, or nothing; return where it stopped."""
        begin = self._used + len(source.opening)
        room = len(self._buffer) - begin - len(_CLOSING)
        if room <= 0:
            return start
        written = lib.netlog_encode_flows(
            source.flows,
            source.order + start,
            stop - start,
            self._text + begin,
            room,
            self._encoded,
            ffi.NULL,
        )
        encoded: int = self._encoded[0]
        if not encoded:
            return start
        self._buffer[self._used : begin] = source.opening
        end = begin + written
        self._buffer[end : end + 1] = b"]"
        self._used = end + 1
        return start + encoded
