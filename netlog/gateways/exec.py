"""A daemon that is metered from inside and looked after: started, and ended with its gateway."""

import contextlib
import logging
import os
import signal
import time

from netlog._closing import Closing
from netlog.config.external import ExecConfig
from netlog.errors import NetlogError
from netlog.gateways.exec_metering import ExecCounters, ExecMetering
from netlog.preload.children import Daemon
from netlog.preload.programs import find_program
from netlog.sinks import Sink

__all__ = ["ExecGateway"]

_log = logging.getLogger("netlog")

END_S = 10.0
"""How long a daemon may take to end before it is killed."""
LOOK_S = 0.02


class ExecGateway(Closing):
    """A daemon of somebody else's, from `start` to `close`.

    If its meter lies in a file, and the daemon of a predecessor still counts into it, that one is
    taken over and no second one is started.

    Args:
        config: one that says who reports, with a command.
        sink: where the messages go; it stays the caller's to close, after `close`.

    Raises:
        NotMeterableError, FileNotFoundError: the command can not be metered so, or is not there.
        ConfigError: the file of nodes is wrong.

    Thread safety: `counters` from any thread between `start` and `close`, the rest from one.
    """

    def __init__(self, config: ExecConfig, sink: Sink) -> None:
        self._command = config.command
        self._program = find_program(config.command[0])
        self._metering = ExecMetering(config, sink)
        self._stack = contextlib.ExitStack()
        self._daemon: Daemon | None = None

    def start(self) -> None:
        """Begin to meter, then start the daemon.

        Raises:
            MeterFileError: the meter's file can not be used, or somebody polls it.
            OSError: the command can not be executed.
        """
        with contextlib.ExitStack() as stack:
            self._metering.start()
            stack.callback(self._metering.close)
            if self._metering.counted_into:
                _log.info("%s: runs already, and is metered again", self._command[0])
            else:
                environment = self._metering.environment(os.environ)
                self._daemon = Daemon(self._program, self._command, environment)
            stack.callback(self.stop)
            self._stack = stack.pop_all()

    @property
    def error(self) -> NetlogError | None:
        """How the daemon ended on its own; None: it still runs, perhaps in the background."""
        status = self._daemon.status if self._daemon is not None else 0
        if status is None or self._metering.counted_into:
            return None
        how = f"exited with status {status}"
        if status < 0:
            how = f"killed by {signal.Signals(-status).name}"
        return NetlogError(f"{self._command[0]}: {how}")

    def ask_to_end(self) -> None:
        """Ask the daemon to end, without waiting for it."""
        self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the daemon, then emit the last period.

        Args:
            timeout_s: how long to wait for the sink; None: as long as it takes.

        Raises:
            TimeoutError: the sink did not take the last messages in time.
        """
        self.ask_to_end()
        if not self._has_ended(END_S):
            _log.warning("%s: did not end within %g s, killed", self._command[0], END_S)
            self._signal(signal.SIGKILL)
            if not self._has_ended(END_S):
                _log.warning("%s: still runs, and is not metered any more", self._command[0])
        self._metering.stop(timeout_s)

    def close(self) -> None:
        """Stop, and give up the meter. Closing twice is fine."""
        self._stack.close()

    def counters(self) -> ExecCounters:
        """What has been counted and reported so far."""
        return self._metering.counters()

    # -- inside -----------------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        """To the daemon, or to those that it left in the background."""
        if self._daemon is not None and self._daemon.status is None:
            self._daemon.signal(number)
        elif self._metering.counted_into:
            self._metering.processes.signal(number)

    def _has_ended(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self._runs():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(LOOK_S)
        return True

    def _runs(self) -> bool:
        if self._daemon is not None and self._daemon.status is None:
            return True
        return self._metering.counted_into
