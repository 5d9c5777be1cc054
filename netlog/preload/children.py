"""Child processes: a command in the terminal's foreground, and a daemon in the background."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Command", "Daemon"]

PASSED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGALRM,
        signal.SIGVTALRM,
        signal.SIGPROF,
        signal.SIGIO,
        signal.SIGPWR,
        signal.SIGURG,
        *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
    }
)
"""What is handed on: all that a daemon may give a meaning of its own."""
RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores, and its children should not."""
SI_KERNEL = 0x80
"""siginfo.si_code of a signal that a terminal sent, to a whole process group."""
PR_SET_CHILD_SUBREAPER = 36
DIED_OF_SIGNAL = 128
"""Added to a signal's number: an exit status as shells make it."""


class Command:
    """A child process that runs as if nobody stood above it, and all processes that come of it.

    Whoever makes one gets its signals from `wait` only; make it before there are other threads.
    Processes that lose their parent become children of this one, so that a daemon which goes on
    when the command has ended is known of.

    Thread safety: the main thread only.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._status: int | None = None
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED, signal.SIGCHLD})

    def start(self, path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the command, with the signals as they were before this object was made.

        Args:
            path: of the program.
            arguments: its arguments, with its own name as the first.
            environment: its environment.

        Raises:
            OSError: it can not be executed.
        """
        # No function of Python's: where it fails, a daemon that goes on is not waited for.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pid = os.posix_spawn(
            path, tuple(arguments), environment, setsigmask=self._mask, setsigdef=RESTORED
        )

    def wait(self) -> int:
        """Hand signals on until the command and all that came of it have ended.

        Returns:
            The command's exit status; 128 plus the signal that it died of.
        """
        while self._reap():
            got = signal.sigwaitinfo({*PASSED, signal.SIGCHLD})
            if got.si_signo != signal.SIGCHLD:
                self._hand_on(got)
        return DIED_OF_SIGNAL if self._status is None else self._status

    def _reap(self) -> bool:
        """Take the statuses of those that have ended. Returns whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self._pid:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else DIED_OF_SIGNAL - code

    def _hand_on(self, got: signal.struct_siginfo) -> None:
        for pid in self._receivers():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # Who shares the terminal's process group has it from there.
                if got.si_code == SI_KERNEL and os.getpgid(pid) == os.getpgrp():
                    continue
                os.kill(pid, got.si_signo)

    def _receivers(self) -> list[int]:
        """The command; when it has ended, those that it left."""
        if self._status is None:
            return [self._pid]
        found: list[int] = []
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
        return found


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
