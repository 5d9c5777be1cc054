"""Child processes: a command in the terminal's foreground, and a daemon in the background."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["ASKS", "Command", "Daemon"]

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
"""Signals that netlog passes on: all that a daemon may use for its own purposes."""
ASKS = signal.SIGCONT
"""The signal that asks netlog itself. It wakes a process and ends none, and nobody needs it to
reach a daemon through netlog: a shell sends it to a whole group of processes."""
RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores and its children should not."""
SI_KERNEL = 0x80
"""siginfo.si_code of a signal that a terminal sent to a whole process group."""
WAITED_FOR = {*PASSED, signal.SIGCHLD, ASKS}
PR_SET_CHILD_SUBREAPER = 36
DIED_OF_SIGNAL = 128
"""Added to the signal's number for the exit status, as shells do."""


class Command:
    """A child process that runs as if netlog were not there, and all its descendants.

    After one is made, this process gets its signals only through `wait`. Make it before other
    threads start. Descendants that lose their parent become children of this process, so netlog
    knows of a daemon that continues after the command has ended.

    Thread safety: the main thread only.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._status: int | None = None
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)

    def start(self, path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the command, with the signals as they were before this object was made.

        Args:
            path: of the program.
            arguments: its arguments; the first is its own name.
            environment: its environment.

        Raises:
            OSError: the program cannot be executed.
        """
        # Python has no function for this. An error does no harm: netlog only does not wait then for
        # a daemon that outlives the command.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pid = os.posix_spawn(
            path, tuple(arguments), environment, setsigmask=self._mask, setsigdef=RESTORED
        )

    def wait(self, asked: Callable[[], None]) -> int:
        """Pass signals on until the command and all its descendants have ended.

        Args:
            asked: called when ASKS arrives, which is not passed on.

        Returns:
            The command's exit status; if a signal killed it, 128 plus the signal's number.
        """
        while self._reap():
            got = signal.sigwaitinfo(WAITED_FOR)
            if got.si_signo == ASKS:
                asked()
            elif got.si_signo != signal.SIGCHLD:
                self._hand_on(got)
        return DIED_OF_SIGNAL if self._status is None else self._status

    def _reap(self) -> bool:
        """Collect the statuses of ended children. Return whether any child is left."""
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
                # The terminal has sent it to every process of this process group already.
                if got.si_code == SI_KERNEL and os.getpgid(pid) == os.getpgrp():
                    continue
                os.kill(pid, got.si_signo)

    def _receivers(self) -> list[int]:
        """Return the command or, when it has ended, the processes that it left."""
        if self._status is None:
            return [self._pid]
        found: list[int] = []
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
        return found


class Daemon:
    """A command in a session of its own, so that the terminal's Ctrl-C reaches only its parent.

    The parent passes signals on. The daemon's standard input is empty. Its standard output goes to
    standard error, because standard output may carry messages.

    Args:
        path: of the program.
        arguments: its arguments; the first is its own name.
        environment: its environment.

    Raises:
        OSError: the program cannot be executed.

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
        """Its exit status; the negative number of a signal that killed it; None: it is running."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still running."""
        if self.status is None:
            os.kill(self._pid, number)
