"""Waits for descriptors, and for signals that ask to stop or ask for something else."""

import os
import select
import signal
from collections.abc import Collection, Iterable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest", "ready"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT is handled even if it was ignored at start. A shell lets a script's background commands
(`&`) ignore it, but a user who sends SIGINT to exactly this process means it."""


def ready(descriptors: Iterable[int], timeout_s: float | None = None) -> set[int]:
    """Wait until a descriptor is readable, at its end or in error.

    Any descriptor number works, unlike with select(2), which is limited to numbers below 1024.

    Args:
        descriptors: open descriptors.
        timeout_s: the longest wait, in seconds; None: no limit.

    Returns:
        The descriptors that are ready; empty: the time is over, or a signal arrived.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else max(0.0, timeout_s) * 1000
    return {descriptor for descriptor, _ in waiting.poll(timeout_ms)}


class StopRequest:
    """Waits for a signal that asks to stop: SIGINT, SIGTERM or SIGHUP.

    A second such signal ends the process immediately.

    If SIGHUP was ignored when the process began (nohup(1)), it stays ignored, unless it is one of
    `others`.

    Args:
        others: signals that ask for something else than to stop; see `taken`.

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
        # Any thread may receive a signal, but Python handles it in this one. The pipe wakes it.
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
        """Whether a signal that asks to stop has arrived."""
        return self.signal is not None

    def fileno(self) -> int:
        """A descriptor for poll(2) that is readable after a signal has arrived."""
        return self._reader

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a signal of either kind arrives, but at most `timeout_s`.

        Returns:
            Whether a signal that asks to stop has arrived.
        """
        asked = self.requested or self._taken
        if not asked and ready([self._reader], timeout_s):
            os.read(self._reader, 64)
        return self.requested

    def taken(self) -> list[int]:
        """The other signals that have arrived since the last call, in order of arrival."""
        taken, self._taken = self._taken, []
        return taken

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number in self._others:
            self._taken.append(number)
            return
        if self.requested:
            os.write(2, b"netlog: second signal: exiting immediately\n")
            os._exit(128 + number)
        self.signal = number
