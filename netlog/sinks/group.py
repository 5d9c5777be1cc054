"""Several sinks as one: each has every message, whatever becomes of the others."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netlog.sinks.base import Sink

if TYPE_CHECKING:
    from netlog.message import Message

__all__ = ["SinkGroup"]


class SinkGroup:
    """Writes each message to every sink.

    A message that some sink refused may be written again: the sinks that have it are passed over.
    A sink's first failure in a row is reported, and that it works again; what lies between is
    counted only.

    Args:
        sinks: the sinks, by the name that reports call them.
        report: takes one line of text.

    Thread safety: one thread at a time; `failures` may be read from any.
    """

    def __init__(self, sinks: Mapping[str, Sink], report: Callable[[str], None]) -> None:
        self._sinks = dict(sinks)
        self._report = report
        self._failures = dict.fromkeys(self._sinks, 0)
        self._failing: dict[str, OSError] = {}
        self._message: Message | None = None
        self._missing: list[str] = []

    def write(self, message: "Message") -> None:
        """Write one message to every sink that does not have it yet.

        Args:
            message: what to write.

        Raises:
            OSError: some sink refused it; the others have it. The first such sink's error.
        """
        if message is not self._message:
            self._message, self._missing = message, list(self._sinks)
        errors: list[OSError] = []
        for name in list(self._missing):
            try:
                self._sinks[name].write(message)
            except OSError as error:
                errors.append(error)
                self._failed(name, error)
            else:
                self._missing.remove(name)
                self._worked(name)
        if errors:
            raise errors[0]
        self._message = None

    @property
    def failures(self) -> dict[str, int]:
        """Writes that failed so far, by the sink's name."""
        return dict(self._failures)

    @property
    def failing(self) -> dict[str, OSError]:
        """The sinks whose last write failed, and how."""
        return dict(self._failing)

    def close(self) -> None:
        """Close every sink."""
        for sink in self._sinks.values():
            sink.close()

    def _failed(self, name: str, error: OSError) -> None:
        self._failures[name] += 1
        if name not in self._failing:
            self._report(f"{name}: {error.strerror}; messages may be lost, traffic goes on")
        self._failing[name] = error

    def _worked(self, name: str) -> None:
        if self._failing.pop(name, None):
            self._report(f"{name}: takes messages again")
