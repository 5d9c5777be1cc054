"""Programs as files: what of an ELF file says how it is loaded."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

__all__ = ["ElfFile"]

MAGIC = b"\x7fELF"
CLASS_BITS = {1: 32, 2: 64}
BYTE_ORDERS = {1: "<", 2: ">"}
PT_INTERP, PT_NOTE = 3, 4
GO_SECTIONS = frozenset({b".note.go.buildid", b".go.buildinfo"})
GO_NOTE = b"Go\0\0"
MAX_ENTRIES = 512
"""Of a table of headers; linkers make some dozens."""
MAX_BYTES = 65536
"""Of a segment or a table of names that is looked at."""


@dataclass(frozen=True, slots=True)
class ElfFile:
    """What is known of a program.

    Attributes:
        bits: 32 or 64.
        machine: the number of its architecture.
        interpreter: the dynamic linker that it asks for; empty: it is linked statically.
        is_go: whether the Go tool chain made it.
    """

    bits: int
    machine: int
    interpreter: str
    is_go: bool

    @classmethod
    def read(cls, path: str) -> Self | None:
        """Look at a file.

        Args:
            path: of the file.

        Returns:
            What it is; None: no ELF file, or a damaged one.

        Raises:
            OSError: it can not be read.

        Thread safety: any thread.
        Source: elf(5); src/debug/buildinfo of Go for the two sections.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return cls._read(fd)
        except (struct.error, KeyError, IndexError, ValueError, OverflowError):
            return None
        finally:
            os.close(fd)

    @classmethod
    def _read(cls, fd: int) -> Self | None:
        ident = os.pread(fd, 16, 0)
        if ident[:4] != MAGIC:
            return None
        bits, order = CLASS_BITS[ident[4]], BYTE_ORDERS[ident[5]]
        word = "Q" if bits == 64 else "I"  # noqa: PLR2004 - of CLASS_BITS
        header = struct.Struct(f"{order}HHI{word}{word}{word}IHHHHHH")
        fields = header.unpack(os.pread(fd, header.size, 16))
        machine, segments_at, sections_at = fields[1], fields[4], fields[5]
        segment_bytes, n_segments, section_bytes, n_sections, names = fields[8:13]
        interpreter, is_go = "", False
        for raw in _table(fd, segments_at, segment_bytes, n_segments):
            kind, offset, size = _segment(raw, bits, order)
            if kind == PT_INTERP:
                interpreter = os.fsdecode(_content(fd, offset, size).rstrip(b"\0"))
            is_go |= kind == PT_NOTE and GO_NOTE in _content(fd, offset, size)
        sections = list(_table(fd, sections_at, section_bytes, n_sections))
        is_go |= not GO_SECTIONS.isdisjoint(_names(fd, sections, names, bits, order))
        return cls(bits, machine, interpreter, is_go)


def _table(fd: int, offset: int, entry_bytes: int, n: int) -> Iterator[bytes]:
    for i in range(min(n, MAX_ENTRIES)):
        yield os.pread(fd, entry_bytes, offset + i * entry_bytes)


def _content(fd: int, offset: int, size: int) -> bytes:
    return os.pread(fd, min(size, MAX_BYTES), offset)


def _segment(raw: bytes, bits: int, order: str) -> tuple[int, int, int]:
    """Kind, offset and bytes in the file of a program header."""
    if bits == 64:  # noqa: PLR2004 - of CLASS_BITS
        kind, _, offset, _, _, size = struct.unpack_from(f"{order}IIQQQQ", raw)
    else:
        kind, offset, _, _, size = struct.unpack_from(f"{order}IIIII", raw)
    return kind, offset, size


def _names(fd: int, sections: list[bytes], names: int, bits: int, order: str) -> Iterator[bytes]:
    """The names of the sections; a stripped file may have none."""
    if not sections:
        return
    pair, at = (f"{order}QQ", 24) if bits == 64 else (f"{order}II", 16)  # noqa: PLR2004 - as above
    text = _content(fd, *struct.unpack_from(pair, sections[names], at))
    for raw in sections:
        (start,) = struct.unpack_from(f"{order}I", raw)
        yield text[start : text.index(b"\0", start)]
