"""Records in a segment: a header of fixed size, then the payload."""

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool.descriptor import read_at
from netlog.spool.place import Position, TakenIn

__all__ = ["HEADER_BYTES", "Kind", "Raw", "Record", "encode", "find_commits", "read_raw"]

MAGIC = b"\x91nR\x1a"
"""Begins a record. JSON never contains these bytes, so no payload looks like a record."""
HEADER = struct.Struct("<4sIIBxxxIQQQQ")
"""MAGIC, crc32, payload bytes, kind, proc_id, proc_seq, client_time_ns, packets, bytes."""
HEADER_BYTES = HEADER.size
CHECKED_FROM = 8
"""The checksum covers the header from this offset on, and the payload."""
PLACE = struct.Struct("<QQ")
"""Segment and offset. The checksum covers them too, so that a record that was written to a wrong
place is not valid there."""
COMMIT = struct.Struct("<16sQ7Q")
"""meter_id, epoch, and the totals including what the commit makes visible."""
MESSAGES = struct.Struct("<Q")
"""How many messages a LOSS reports, before the JSON; packets and bytes are in the header."""
CHUNK_BYTES = 1 << 20
"""How much of a damaged segment is searched at a time."""


class Kind(enum.IntEnum):
    """The kind of a record."""

    MESSAGE = 1
    LOSS = 2
    COMMIT = 3


class Raw(NamedTuple):
    """A record with a valid checksum, and the offset after it."""

    kind: int
    payload: bytes
    proc_id: int
    proc_seq: int
    client_time_ns: int
    packets: int
    n_bytes: int
    end_offset: int

    def loss(self) -> Loss:
        """Return what a LOSS reports."""
        (messages,) = MESSAGES.unpack_from(self.payload)
        return Loss(messages, self.packets, self.n_bytes)

    def commit(self) -> tuple[PeriodId, TakenIn]:
        """Return the period and the totals of a COMMIT."""
        meter_id, epoch, *totals = COMMIT.unpack(self.payload)
        return PeriodId(meter_id, epoch), TakenIn(*totals)

    def adds(self) -> TakenIn:
        """Return what the record adds to the totals."""
        if self.kind == Kind.MESSAGE:
            return TakenIn(1, 1, self.packets, self.n_bytes)
        if self.kind == Kind.LOSS:
            return _telling(self.loss())
        return TakenIn()


@dataclass(frozen=True, slots=True)
class Record:
    """A record that the spool hands out to be shipped.

    If a record comes again, after a crash or a failure, it has the same `proc_id` and `proc_seq`.
    Together with the node they identify the record permanently.

    Attributes:
        payload: a message, or an object that reports a loss; JSON.
        proc_id: random number, chosen when the spool that took the record in was opened.
        proc_seq: from 1, without gaps, for each opening.
        client_time_ns: when the record was taken in, since the epoch.
        packets: of all entries of the message; 0 for a loss.
        n_bytes: of all entries of the message; 0 for a loss.
        loss: what was lost, if the record reports that.
        position: after the record, for `Spool.advance`.
    """

    payload: bytes
    proc_id: int
    proc_seq: int
    client_time_ns: int
    packets: int
    n_bytes: int
    loss: Loss
    position: Position

    @classmethod
    def of(cls, raw: Raw, position: Position) -> "Record":
        """Make a record of what was read."""
        ids = (raw.proc_id, raw.proc_seq, raw.client_time_ns)
        if raw.kind == Kind.LOSS:
            return cls(raw.payload[MESSAGES.size :], *ids, 0, 0, raw.loss(), position)
        return cls(raw.payload, *ids, raw.packets, raw.n_bytes, Loss(), position)

    def adds(self) -> TakenIn:
        """Return what the record adds to the totals."""
        if self.loss:
            return _telling(self.loss)
        return TakenIn(1, 1, self.packets, self.n_bytes)


def encode(raw: Raw, segment: int, offset: int) -> bytes:
    """Return the bytes of a record for a place.

    Args:
        raw: its fields. `end_offset` is not used.
        segment: number of the segment.
        offset: of its first byte.

    Returns:
        Header and payload.
    """
    fields = (
        len(raw.payload),
        raw.kind,
        raw.proc_id,
        raw.proc_seq,
        raw.client_time_ns,
        raw.packets,
        raw.n_bytes,
    )
    header = HEADER.pack(MAGIC, 0, *fields)
    crc = _crc(segment, offset, header, raw.payload)
    return HEADER.pack(MAGIC, crc, *fields) + raw.payload


def read_raw(fd: int, segment: int, offset: int, end_offset: int) -> Raw | None:
    """Read the record at a place.

    Args:
        fd: of the segment.
        segment: its number.
        offset: where the record begins.
        end_offset: where it must end at the latest.

    Returns:
        The record, or None: these bytes are not a valid record.

    Raises:
        OSError: the bytes cannot be read.
    """
    if end_offset - offset < HEADER_BYTES:
        return None
    header = read_at(fd, HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES:
        return None
    magic, crc, length, kind, *rest = HEADER.unpack(header)
    proc_id, proc_seq, client_time_ns, packets, n_bytes = rest
    at = offset + HEADER_BYTES
    if magic != MAGIC or length > end_offset - at:
        return None
    payload = read_at(fd, length, at)
    if len(payload) < length or crc != _crc(segment, offset, header, payload):
        return None
    if not _has_shape(kind, length):
        return None
    end = at + length
    return Raw(kind, payload, proc_id, proc_seq, client_time_ns, packets, n_bytes, end)


def find_commits(fd: int, segment: int, offset: int, end_offset: int) -> list[Raw]:
    """Return the commits somewhere after damage, in order.

    Args:
        fd: of the segment.
        segment: its number.
        offset: where the damage begins.
        end_offset: the segment's size.

    Returns:
        Commits that are valid at their place. Other bytes between them are not looked at.

    Raises:
        OSError: the bytes cannot be read.
    """
    found = (read_raw(fd, segment, at, end_offset) for at in _find_magic(fd, offset, end_offset))
    return [raw for raw in found if raw is not None and raw.kind == Kind.COMMIT]


def _find_magic(fd: int, offset: int, end_offset: int) -> Iterator[int]:
    """Yield the offsets where a record may begin."""
    overlap = len(MAGIC) - 1
    for start in range(offset, end_offset, CHUNK_BYTES):
        data = read_at(fd, min(CHUNK_BYTES + overlap, end_offset - start), start)
        at = data.find(MAGIC)
        while at >= 0:
            yield start + at
            at = data.find(MAGIC, at + 1)


def commit_payload(period: PeriodId, totals: TakenIn) -> bytes:
    """Return the payload of a COMMIT."""
    return COMMIT.pack(period.meter_id, period.epoch, *totals)


def loss_payload(loss: Loss, node_id: str) -> bytes:
    """Return the payload of a LOSS."""
    return MESSAGES.pack(loss.messages) + loss.to_json(node_id)


def _telling(loss: Loss) -> TakenIn:
    return TakenIn(1, 0, 0, 0, loss.messages, loss.packets, loss.n_bytes)


def _crc(segment: int, offset: int, header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header[CHECKED_FROM:] + PLACE.pack(segment, offset)))


def _has_shape(kind: int, length: int) -> bool:
    """Return whether a payload of this length can be of this kind."""
    if kind == Kind.COMMIT:
        return length == COMMIT.size
    return kind == Kind.MESSAGE or (kind == Kind.LOSS and length >= MESSAGES.size)
