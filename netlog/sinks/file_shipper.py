"""Spooled messages into a file of JSON lines, each exactly once."""

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

    The cursor's note says which file it was and how long, when all that is passed was in it and
    nothing else of the spool. So lines that were written and not passed, because the process was
    killed in between, lie behind that length: they are cut off, and written again.

    That holds over a rotation: the file is put aside only between two batches, when nothing lies
    behind the length; and before anything is written to the new one, the note is of that.

    If the file is renamed from outside after a crash, before this runs again, what lies behind the
    length stays in the renamed one, and is in the new one too.

    Args:
        sink: the shipper's own from now on; it closes it.

    Thread safety: as `Shipper`.
    """

    max_records = MAX_RECORDS
    max_bytes = BATCH_BYTES
    overhead_bytes = 1  # the line break

    def __init__(self, sink: FileSink) -> None:
        self._sink = sink

    def prepare(self, note: bytes) -> bytes:
        """Cut off what was not passed; put the file aside if it is time; note the file."""
        if position := _read(note):
            self._sink.cut_to(position)
        self._sink.rotate_if_due()
        return self._note()

    def ship(self, records: "Sequence[Record]") -> bytes:
        """Write the lines, all or none, and bring them to the disk."""
        self._sink.write_lines(b"".join(record.payload + b"\n" for record in records))
        self._sink.sync()
        return self._note()

    def reopen(self) -> None:
        """Open the path anew before the next batch. Any thread."""
        self._sink.reopen()

    def interrupt(self) -> None:
        """Nothing: a file does not keep anybody waiting."""

    def close(self) -> None:
        """See `Shipper`."""
        self._sink.close()

    def _note(self) -> bytes:
        position = self._sink.position()
        if position is None:
            return b""
        return NOTE.pack(MAGIC, position.device, position.inode, position.size_bytes)


def _read(note: bytes) -> FilePosition | None:
    """The position in a note; None: it has none, or is another shipper's."""
    if len(note) != NOTE.size or not note.startswith(MAGIC):
        return None
    _, device, inode, size_bytes = NOTE.unpack(note)
    return FilePosition(device, inode, size_bytes)
