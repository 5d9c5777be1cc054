"""A gate between calls on a descriptor and the closing of it."""

import os
import threading
from collections.abc import Callable

from netlog.errors import StateError

__all__ = ["Gate"]


class Gate:
    """Admits calls until it is closed; frees what it guards when the last call has left.

    Use it as a context manager around a call. A call that waits also polls `fd`, which becomes
    readable when the gate is closed.

    Args:
        what: the guarded object, as a user knows it.
        free: frees the guarded object; called once, when no call is inside.

    Thread safety: any thread, and a signal handler that interrupts a call. In such a handler
        `close` returns at once, and the interrupted call frees the object when it leaves.
    """

    def __init__(self, what: str, free: Callable[[], None]) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._what = what
        self._free = free
        self._inside: list[int] = []
        self._closed = False
        self._freed = False
        # Re-entrant, for signal handlers.
        self._changed = threading.Condition(threading.RLock())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def enter(self, holder: int) -> None:
        """Enter, under a number to leave by.

        Raises:
            StateError: the gate is closed.
        """
        with self._changed:
            # Enter first, then check: a signal handler that closes in between must see this call.
            self._inside.append(holder)
            if not self._closed:
                return
            self.leave(holder)
        raise StateError(f"{self._what} is closed")

    def leave(self, holder: int) -> None:
        """Leave again."""
        with self._changed:
            self._inside.remove(holder)
            self._free_if_last()

    def __enter__(self) -> None:
        self.enter(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self.leave(threading.get_ident())

    def shut(self) -> None:
        """Admit no more calls, and wake those that wait inside."""
        with self._changed:
            if not self._closed:
                self._closed = True
                os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Shut, and wait until the guarded object is freed."""
        with self._changed:
            self.shut()
            self._free_if_last()
            if threading.get_ident() not in self._inside:
                self._changed.wait_for(lambda: self._freed)

    def _free_if_last(self) -> None:
        if self._closed and not self._inside and not self._freed:
            self._freed = True
            try:
                self._free()
            finally:
                os.close(self.fd)
                self._changed.notify_all()
