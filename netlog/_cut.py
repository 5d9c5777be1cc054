"""Cuts the entries of a period into JSON objects of bounded size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netlog._native import ffi, lib
from netlog.classify import Traffic
from netlog.flows import FlowArray

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


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a section that one object holds: entries `start` to `stop` - 1."""

    section: Section
    start: int
    stop: int

    def gather(self) -> FlowArray:
        """Copy the rows."""
        return self.section.flows.take(self.section.order[self.start : self.stop])


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
    rest = [Piece(section, 0, len(section.order)) for section in sections if len(section.order)]
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
            piece = rest[0]
            stop = self._append(piece)
            if stop > piece.start:
                pieces.append(Piece(piece.section, piece.start, stop))
            if stop < piece.stop:
                rest[0] = Piece(piece.section, stop, piece.stop)
                break
            del rest[0]
        if pieces:
            self._buffer[self._used : self._used + 1] = b"}"
            self._used += 1
        return pieces

    def _append(self, piece: Piece) -> int:
        """Write an array with as many entries as fit, or nothing; return where it stopped."""
        opening = _OPENINGS[piece.section.traffic]
        start = self._used + len(opening)
        room = len(self._buffer) - start - len(_CLOSING)
        if room <= 0:
            return piece.start
        written = lib.netlog_encode_flows(
            ffi.from_buffer("struct netlog_flow[]", piece.section.flows),
            ffi.from_buffer("uint32_t[]", piece.section.order) + piece.start,
            piece.stop - piece.start,
            self._text + start,
            room,
            self._encoded,
        )
        encoded: int = self._encoded[0]
        if not encoded:
            return piece.start
        self._buffer[self._used : start] = opening
        self._buffer[start + written : start + written + 1] = b"]"
        self._used = start + written + 1
        return piece.start + encoded
