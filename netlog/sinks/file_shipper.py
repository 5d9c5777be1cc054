"""Ship spooled messages to a file of JSON lines, each exactly once."""

import struct
from typing import TYPE_CHECKING

from netlog.sinks.file import FilePosition, FileSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.spool import Record

__all__ = ["FileShipper"]

MAX_RECORDS = 1024
BATCH_BYTES = 1024 * 1024
NOTE = struct.Struct("<4sQQQ")
"""MAGIC, device, inode, size."""
MAGIC = b"file"


class FileShipper:
    """Appends the payloads to a file, as lines.

    The cursor's note says which file it was and how long it was when the cursor moved. At that
    length the file held every record before the cursor, and nothing of the spool after it. If the
    process is killed after it wrote lines and before the cursor moved, those lines lie beyond that
    length: the next start cuts them off and writes them again.

    This also holds across a rotation. The file is rotated only between two batches, when nothing
    lies beyond the length. The note names the new file before anything is written to it.

    One case gives duplicates: if something else renames the file after a crash, before the shipper
    runs again, the lines beyond the length stay in the renamed file and are written to the new one
    too.

    Args:
        sink: belongs to the shipper from now on, which closes it.

    Thread safety: as `Shipper`.
    """

    max_records = MAX_RECORDS
    max_bytes = BATCH_BYTES
    overhead_bytes = 1  # the line break

    def __init__(self, sink: FileSink) -> None:
        self._sink = sink

    def prepare(self, note: bytes) -> bytes:
        """Cut off lines after the note's length, rotate if due, and return a note of the file."""
        if position := _read(note):
            self._sink.cut_to(position)
        self._sink.rotate_if_due()
        return self._note()

    def ship(self, records: "Sequence[Record]") -> bytes:
        """Append the lines, all or none, and flush them to the disk."""
        self._sink.write_lines(b"".join(record.payload + b"\n" for record in records))
        self._sink.sync()
        return self._note()

    def reopen(self) -> None:
        """Open the path again before the next batch. Any thread."""
        self._sink.reopen()

    def interrupt(self) -> None:
        """Do nothing: a write to a file does not wait for another side."""

    def close(self) -> None:
        """See `Shipper`."""
        self._sink.close()

    def _note(self) -> bytes:
        position = self._sink.position()
        if position is None:
            return b""
        return NOTE.pack(MAGIC, position.device, position.inode, position.size_bytes)


def _read(note: bytes) -> FilePosition | None:
    """Return the position in a note; None: the note is empty or from another kind of shipper."""
    if len(note) != NOTE.size or not note.startswith(MAGIC):
        return None
    _, device, inode, size_bytes = NOTE.unpack(note)
    return FilePosition(device, inode, size_bytes)
