"""The base class of objects that are closed when their `with` block ends."""

from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing:
    """A context manager that calls `close` at its end; the base class of owners of resources."""

    __slots__ = ()

    def close(self) -> None:
        """Release what this object owns. A second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
