"""A stream of JSON that is damaged somewhere: what is right of it, and where the rest lay."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from netlog.fmt.split import ReadError, Splitter, Value

__all__ = ["Damage", "read_values"]


class Damage(msgspec.Struct, frozen=True):
    """A stretch of a stream that was skipped.

    Args:
        error: what is wrong, the first thing that is.
        begin: offset of the first byte that was skipped.
        end: offset of the first byte behind them.
    """

    error: ReadError
    begin: int
    end: int

    def __str__(self) -> str:
        count = self.end - self.begin
        return f"{self.error}; skipped {count} bytes, from byte {self.begin} to {self.end}"


def read_values(chunks: Iterable[bytes], damaged: Callable[[Damage], None]) -> Iterator[Value]:
    """Cut a stream into values, and go on after damage.

    Args:
        chunks: the stream.
        damaged: told of each stretch once, before the value that comes after it.

    Returns:
        The values, as they come.

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
