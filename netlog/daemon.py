"""A daemon that is somebody's child: started, looked after, and ended."""

import os
import signal
from collections.abc import Mapping, Sequence

from netlog.command import RESTORED

__all__ = ["Daemon"]


class Daemon:
    """A command in a session of its own: the terminal's Ctrl-C is its parent's to hand on.

    Its standard input is empty, and what it says on standard output goes to standard error, as
    standard output may be full of messages.

    Args:
        path: of the program.
        arguments: its arguments, with its own name as the first.
        environment: its environment.

    Raises:
        OSError: it can not be executed.

    Thread safety: one thread at a time.
    """

    def __init__(self, path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._status: int | None = None
        self._pid = os.posix_spawn(
            path,
            tuple(arguments),
            environment,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=RESTORED,
        )

    @property
    def status(self) -> int | None:
        """Its exit status, minus a signal's number if it died of that; None: it runs."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.status is None:
            os.kill(self._pid, number)
