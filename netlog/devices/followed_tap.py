"""A tap on an interface that may come and go."""

import errno
import logging
import threading
from collections.abc import Callable

from netlog.devices.tap import Tap, TapCounters
from netlog.errors import DeviceError
from netlog.netlink.interfaces import index_of

__all__ = ["FollowedTap"]

_log = logging.getLogger("netlog")


class FollowedTap:
    """A tap that follows its interface: if that is removed and made again, a new tap takes over.

    Args:
        name: what the log and the counters call it.
        interface: where to tap; None: everywhere.
        open_tap: opens a tap, or raises DeviceError.

    Thread safety: `counters` from any thread, the rest from one.
    """

    def __init__(self, name: str, interface: str | None, open_tap: Callable[[], Tap]) -> None:
        self.name = name
        self._interface = interface
        self._open_tap = open_tap
        self._tap: Tap | None = None
        self._before = TapCounters()
        self._said = ""
        self._lock = threading.Lock()  # held when one tap replaces another

    @property
    def open(self) -> bool:
        """Whether a tap is counting."""
        return self._tap is not None

    def look(self) -> None:
        """Tap the interface if it has appeared; close the tap if its interface is gone or replaced.

        Raises:
            DeviceError: a privilege is missing.
        """
        if self._tap is not None and (self._tap.gone or self._is_another(self._tap)):
            _log.info("%s: the interface was removed", self.name)
            self.close()
        if self._tap is None:
            self._try()

    def counters(self) -> TapCounters:
        """Return the sums of all taps so far."""
        with self._lock:
            return self._before if self._tap is None else self._before + self._tap.counters()

    def close(self) -> None:
        """Count what has come so far, and end. A later `look` would begin again."""
        if self._tap is None:
            return
        self._tap.close()
        with self._lock:
            self._before += self._tap.counters()
            self._tap = None

    def _is_another(self, tap: Tap) -> bool:
        if self._interface is None:
            return False
        try:
            return index_of(self._interface) != tap.ifindex
        except DeviceError:
            return True

    def _try(self) -> None:
        try:
            tap = self._open_tap()
        except DeviceError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise
            missing = error.errno == errno.ENODEV
            self._say("waiting for the interface" if missing else f"cannot tap it yet: {error}")
            return
        with self._lock:
            self._tap = tap
        self._said = ""
        _log.info("%s: counting", self.name)

    def _say(self, text: str) -> None:
        if text != self._said:
            _log.info("%s: %s", self.name, text)
        self._said = text
