"""Heads: what a spool must know at a place, when everything before that place is gone.

A head begins each segment. The `committed` file is a head, too: that of the last commit.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from netlog.spool.place import TakenIn

__all__ = ["MAX_HEAD_BYTES", "MAX_METERS", "Head", "remember"]

MAX_METERS = 64
"""How many meters' last epochs a spool knows. A daemon makes a meter at each start, so only the
last few meters can still offer a period."""
MAGIC = b"nlspool\x1a"
VERSION = 2
PREFIX = struct.Struct("<8sIII")
"""MAGIC, version, crc32, bytes of the head. Every format from 2 on begins like this, and its
checksum covers the whole head but itself: so damage is never taken for another version."""
CRC_AT = 12
CHECKED_FROM = 16
FIELDS = struct.Struct("<?3xQQ7Q")
"""clean, number, created_ns, totals; then the meters."""
METER = struct.Struct("<16sQ")
METERS_AT = PREFIX.size + FIELDS.size
MAX_HEAD_BYTES = METERS_AT + MAX_METERS * METER.size
FORMAT_1 = struct.Struct("<8sIIQQ7QBxH4x")
"""MAGIC, 1, crc32 of what follows, number, created_ns, totals, clean, number of meters."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a spool knows at a place.

    Attributes:
        number: of the segment.
        created_ns: since the epoch.
        start: the totals there.
        clean: whether everything before it is committed; False: it was made during a transaction.
        meters: the last committed epoch by meter id.
    """

    number: int
    created_ns: int
    start: TakenIn
    clean: bool
    meters: Mapping[bytes, int]

    def encode(self) -> bytes:
        """Return its bytes."""
        meters = b"".join(METER.pack(*meter) for meter in self.meters.items())
        rest = FIELDS.pack(self.clean, self.number, self.created_ns, *self.start) + meters
        n_bytes = PREFIX.size + len(rest)
        crc = _crc(PREFIX.pack(MAGIC, VERSION, 0, n_bytes) + rest)
        return PREFIX.pack(MAGIC, VERSION, crc, n_bytes) + rest

    @classmethod
    def decode(cls, data: bytes) -> "tuple[Head, int] | None":
        """Read a head.

        Args:
            data: the first `MAX_HEAD_BYTES` of a file, or all if it is shorter.

        Returns:
            The head, and the offset after it; None: it is damaged.

        Raises:
            ValueError: it is undamaged, and of another version.
        """
        if len(data) < PREFIX.size:
            return None
        magic, version, crc, n_bytes = PREFIX.unpack_from(data)
        if magic != MAGIC:
            return None
        if version == 1:
            return cls._decode_1(data)
        if not PREFIX.size <= n_bytes <= len(data) or crc != _crc(data[:n_bytes]):
            return None
        if version != VERSION:
            raise ValueError(f"made by another version of netlog (format {version})")
        if n_bytes < METERS_AT or (n_bytes - METERS_AT) % METER.size:
            return None
        clean, number, created_ns, *totals = FIELDS.unpack_from(data, PREFIX.size)
        meters = dict(METER.iter_unpack(data[METERS_AT:n_bytes]))
        return cls(number, created_ns, TakenIn(*totals), clean, meters), n_bytes

    @classmethod
    def _decode_1(cls, data: bytes) -> "tuple[Head, int] | None":
        """Read a head of format 1, in which the checksum does not cover the version."""
        if len(data) < FORMAT_1.size:
            return None
        _, _, crc, number, created_ns, *totals, clean, n = FORMAT_1.unpack_from(data)
        end = FORMAT_1.size + n * METER.size
        if n > MAX_METERS or len(data) < end or crc != zlib.crc32(data[CHECKED_FROM:end]):
            return None
        meters = dict(METER.iter_unpack(data[FORMAT_1.size : end]))
        return cls(number, created_ns, TakenIn(*totals), bool(clean), meters), end


def remember(meters: dict[bytes, int], meter_id: bytes, epoch: int) -> None:
    """Store the meter's last epoch; beyond MAX_METERS, forget the least recently stored meter."""
    meters.pop(meter_id, None)
    meters[meter_id] = epoch
    while len(meters) > MAX_METERS:
        del meters[next(iter(meters))]


def _crc(head: bytes) -> int:
    return zlib.crc32(head[CHECKED_FROM:], zlib.crc32(head[:CRC_AT]))
