"""Waiting: for descriptors, and for a signal that asks to stop or for something else."""

import os
import select
import signal
from collections.abc import Collection, Iterable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest", "ready"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT also where it was ignored at start: a shell does so to what a script runs with `&`, which
whoever sends it to this very process does not know."""


def ready(descriptors: Iterable[int], timeout_s: float | None = None) -> set[int]:
    """Wait until there is something to read, an end or an error.

    The numbers of the descriptors do not matter: select(2) knows those below 1024 only.

    Args:
        descriptors: open ones.
        timeout_s: at most so long; None: no limit.

    Returns:
        Those where it is so; none: the time is over, or a signal came.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else max(0.0, timeout_s) * 1000
    return {descriptor for descriptor, _ in waiting.poll(timeout_ms)}


class StopRequest:
    """Waits for a signal that asks to stop: SIGINT, SIGTERM or SIGHUP. A second ends the process.

    A hang-up that was ignored when the process began (nohup(1)) stays so, unless it has a meaning
    of its own here.

    Args:
        others: signals that do not ask to stop but for something else; see `taken`.

    Thread safety: the main thread only.
    """

    def __init__(self, others: Collection[signal.Signals] = ()) -> None:
        self.signal: int | None = None
        self._others = frozenset(others)
        self._taken: list[int] = []
        self._old: dict[int, Any] = {}
        self._reader = self._writer = -1
        self._old_wakeup = -1

    def __enter__(self) -> Self:
        # A signal may come to any thread, but Python handles it in this one: the pipe wakes it.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in {*SIGNALS, *self._others}:
            ignored = signal.getsignal(number) is signal.SIG_IGN
            if number in self._others or not (ignored and number == signal.SIGHUP):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._reader)
        os.close(self._writer)

    @property
    def requested(self) -> bool:
        """Whether a signal has come that asks to stop."""
        return self.signal is not None

    def fileno(self) -> int:
        """A descriptor that is ready to read when a signal has come, for poll(2)."""
        return self._reader

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a signal comes, of either kind, at most so long.

        Returns:
            Whether one has come that asks to stop.
        """
        asked = self.requested or self._taken
        if not asked and ready([self._reader], timeout_s):
            os.read(self._reader, 64)
        return self.requested

    def taken(self) -> list[int]:
        """The other signals that have come since the last call, in their order."""
        taken, self._taken = self._taken, []
        return taken

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in self._others:
            self._taken.append(number)
            return
        if self.requested:
            os.write(2, b"netlog: stopped at once\n")
            os._exit(128 + number)
        self.signal = number
