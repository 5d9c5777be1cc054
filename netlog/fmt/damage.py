"""Reads the values of a damaged JSON stream, and reports what it skips."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from netlog.display.units import counted
from netlog.fmt.split import ReadError, Splitter, Value

__all__ = ["Damage", "read_values"]


class Damage(msgspec.Struct, frozen=True):
    """A part of a stream that was skipped.

    Args:
        error: the first error in it.
        begin: offset of the first skipped byte.
        end: offset of the first byte after the skipped ones.
    """

    error: ReadError
    begin: int
    end: int

    def __str__(self) -> str:
        count = self.end - self.begin
        return (
            f"{self.error}; skipped {counted(count, 'byte')}, from byte {self.begin} to {self.end}"
        )


def read_values(chunks: Iterable[bytes], damaged: Callable[[Damage], None]) -> Iterator[Value]:
    """Split a stream into values, and continue after damage.

    Args:
        chunks: the stream.
        damaged: called once for each damaged part, before the next value.

    Returns:
        The values, as soon as they are complete.

    Thread safety: one thread.
    """
    splitter = Splitter()
    pending: tuple[ReadError, int] | None = None
    for chunk in itertools.chain(chunks, (None,)):
        data = chunk
        while True:
            try:
                for value in splitter.finish() if data is None else splitter.feed(data):
                    if pending is not None:
                        damaged(Damage(*pending, value.offset))
                        pending = None
                    yield value
                break
            except ReadError as error:
                begin = splitter.resync()
                pending = pending or (error, begin)
                data = None if data is None else b""
    if pending is not None:
        damaged(Damage(*pending, splitter.offset))
