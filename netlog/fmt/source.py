"""Bytes of a file or of standard input, as they come, unpacked if they are gzip or zstd."""

import importlib
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from typing import Any

from netlog.errors import NetlogError

__all__ = ["STDIN", "SourceError", "read_chunks", "unpack"]

STDIN = "-"
CHUNK_BYTES = 256 * 1024
"""Read at once; a pipe gives what it has."""
PIECE_BYTES = 1024 * 1024
"""Unpacked at once, so that a small file of zeros takes no more memory than any other."""

GZIP_MAGIC = b"\x1f\x8b"
"""RFC 1952 section 2.3.1."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""RFC 8878 section 3.1.1."""
ZSTD_MODULES = ("compression.zstd", "backports.zstd")


class SourceError(NetlogError):
    """The bytes can not be unpacked; the text says why."""


def read_chunks(path: str) -> Iterator[bytes]:
    """Read a file as it comes.

    Args:
        path: of the file; `-` is standard input.

    Returns:
        Its bytes, in chunks of any size; never empty.

    Raises:
        OSError: it can not be opened or read.
    """
    number = 0 if path == STDIN else None
    with FileIO(path if number is None else number, closefd=number is None) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip or zstd, known by their first bytes; anything else passes as it is.

    Args:
        chunks: of any size.

    Returns:
        The unpacked bytes, in chunks of at most 1 MiB; a plain chunk passes whole.

    Raises:
        SourceError: the packed stream is damaged or cut short, or nothing here unpacks zstd.
    """
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        if not (GZIP_MAGIC.startswith(head) or ZSTD_MAGIC.startswith(head)):
            break
    whole = itertools.chain((head,) if head else (), chunks)
    if head.startswith(GZIP_MAGIC):
        yield from _gunzip(whole)
    elif head.startswith(ZSTD_MAGIC):
        yield from _unzstd(whole, *_zstd())
    else:
        yield from whole


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    member = None
    try:
        for chunk in chunks:
            data = chunk
            while data:
                member = member or zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
                yield member.decompress(data, PIECE_BYTES)
                data = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
        if member is not None:
            yield member.flush()
    except zlib.error as error:
        raise SourceError(f"damaged gzip: {error}") from None
    if member is not None and not member.eof:
        raise SourceError("the file ends within its gzip data")


def _unzstd(
    chunks: Iterable[bytes], decompressor: Callable[[], Any], failure: type[Exception]
) -> Iterator[bytes]:
    frame = None
    try:
        for chunk in chunks:
            data = chunk
            while data or (frame is not None and not frame.needs_input):
                frame = frame or decompressor()
                yield frame.decompress(data, PIECE_BYTES)
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
    except failure as error:
        raise SourceError(f"damaged zstd: {error}") from None
    if frame is not None:
        raise SourceError("the file ends within its zstd data")


def _zstd() -> tuple[Callable[[], Any], type[Exception]]:
    for name in ZSTD_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.ZstdDecompressor, module.ZstdError
    raise SourceError(
        "this is zstd, which needs Python 3.14 or another package: "
        "pip install 'netlog-flows[zstd]'"
    )
