"""The cursor file: how far the reader has come, durable at each change.

Saves overwrite two slots in turn, in place. So a save never needs disk space, and a full disk does
not keep the reader from removing shipped records. A write that a crash cuts short damages only the
older slot.

Each slot has a copy in the page of the other one, written when the slot is durable. So no damage to
one page makes the reader go back: what it has passed may be gone, and would count as lost.
"""

import contextlib
import os
import struct
import threading
import zlib

from netlog.spool.descriptor import close_descriptor, read_at
from netlog.spool.directory import SpoolDirectory, write_at
from netlog.spool.place import Position, TakenIn

__all__ = ["CURSOR_BYTES", "MAX_NOTE_BYTES", "CursorFile"]

MAX_NOTE_BYTES = 64
SLOT = struct.Struct("<8sI4xQQQ7Q7QB64s")
"""MAGIC, crc32, sequence, segment, offset, totals, skipped, bytes of the note, note."""
MAGIC = b"nlcursr1"
CHECKED_FROM = 16
SLOT_BYTES = 4096
"""The slots are a page apart, so that no sector holds both."""
CURSOR_BYTES = 2 * SLOT_BYTES
COPY_AT = 2048
"""Offset in a page of the copy of the other page's slot."""


class CursorFile:
    """The position of a spool's reader, and a note that is saved with it.

    Attributes:
        position: the last one saved; None: the file held no valid one.
        note: the one saved with it.

    Raises:
        OSError: the file cannot be opened or made.

    Thread safety: one thread, that of the reader; `renew` from any.
    """

    def __init__(self, directory: SpoolDirectory) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self.position: Position | None = None
        self.note = b""
        self._sequence = 0
        self._fd = directory.open_cursor()
        try:
            for offset in range(0, CURSOR_BYTES, COPY_AT):
                self._load(read_at(self._fd, SLOT.size, offset))
            self._take_room()
        except BaseException:
            self.close()
            raise

    def save(self, position: Position, note: bytes) -> None:
        """Save the position durably.

        Raises:
            OSError: the previous position is kept; the caller may try again.
        """
        with self._lock:
            self._save(position, note)

    def renew(self) -> None:
        """Save the position again, after the file was removed.

        Raises:
            OSError: the file cannot be made again.
        """
        with self._lock:
            if self.position is not None:
                self._save(self.position, self.note)

    def _save(self, position: Position, note: bytes) -> None:
        if os.fstat(self._fd).st_nlink == 0:
            fd, self._fd = self._fd, self._directory.open_cursor()
            close_descriptor(fd)
            self._take_room()
        sequence = self._sequence + 1
        place = (position.segment, position.offset, *position.totals, *position.skipped)
        fields = (sequence, *place, len(note), note)
        crc = zlib.crc32(SLOT.pack(MAGIC, 0, *fields)[CHECKED_FROM:])
        slot = SLOT.pack(MAGIC, crc, *fields)
        # The other slot holds the previous position until this one is durable.
        write_at(self._fd, slot, sequence % 2 * SLOT_BYTES)
        os.fdatasync(self._fd)
        with contextlib.suppress(OSError):  # Only damage to this slot needs the copy.
            write_at(self._fd, slot, (sequence + 1) % 2 * SLOT_BYTES + COPY_AT)
        self._sequence, self.position, self.note = sequence, position, note

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_descriptor(fd)

    def _take_room(self) -> None:
        """Allocate the disk space that later overwrites use."""
        size = os.fstat(self._fd).st_size
        if size < CURSOR_BYTES:
            write_at(self._fd, bytes(CURSOR_BYTES - size), size)
            os.fdatasync(self._fd)
            self._directory.sync()

    def _load(self, slot: bytes) -> None:
        """Take the slot's position if it is valid and newer."""
        if len(slot) < SLOT.size:
            return
        magic, crc, sequence, segment, offset, *rest = SLOT.unpack(slot)
        if magic != MAGIC or crc != zlib.crc32(slot[CHECKED_FROM:]) or sequence <= self._sequence:
            return
        totals, skipped, (note_bytes, note) = TakenIn(*rest[:7]), TakenIn(*rest[7:14]), rest[14:]
        self._sequence = sequence
        self.position = Position(segment, offset, totals, skipped)
        self.note = note[:note_bytes]
