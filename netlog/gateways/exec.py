"""A daemon that is metered from inside, and that starts and ends with its gateway."""

import contextlib
import logging
import os
import signal
import time

from netlog.config.external import ExecConfig
from netlog.errors import NetlogError
from netlog.gateways.base import AnyGateway
from netlog.gateways.counters import ExecCounters
from netlog.gateways.exec_metering import ExecMetering
from netlog.preload.children import Daemon
from netlog.preload.programs import find_program
from netlog.sinks import Sink

__all__ = ["ExecGateway"]

_log = logging.getLogger("netlog")

END_S = 10.0
"""How long a daemon may take to end before netlog kills it."""
LOOK_S = 0.02


class ExecGateway(AnyGateway):
    """A gateway that runs and meters an unmodified daemon, from `start` to `close`.

    A meter in a file outlives its gateway. If the daemon of an earlier gateway still counts into
    this file, this gateway takes it over and starts no second daemon.

    Args:
        config: the configuration, with a node id and a command.
        sink: the destination of the messages. The caller closes it, after `close`.

    Raises:
        NotMeterableError: the command cannot be metered from inside.
        FileNotFoundError: there is no such command.
        ConfigError: the file of nodes is wrong.

    Thread safety: `counters` from any thread between `start` and `close`; everything else from one
        thread.
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
            MeterFileError: the meter's file cannot be used, or another process polls it.
            OSError: the command cannot be executed.
        """
        with contextlib.ExitStack() as stack:
            self._metering.start()
            stack.callback(self._metering.close)
            if self._metering.counted_into:
                _log.info("%s: already running; metering continues", self._command[0])
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
            timeout_s: how long to wait for the sink; None: without limit.

        Raises:
            TimeoutError: the sink did not accept the last messages in time.
        """
        self.ask_to_end()
        if not self._has_ended(END_S):
            _log.warning("%s: killed: it did not end within %g s", self._command[0], END_S)
            self._signal(signal.SIGKILL)
            if not self._has_ended(END_S):
                _log.warning("%s: still runs, and is no longer metered", self._command[0])
        self._metering.stop(timeout_s)

    def close(self) -> None:
        """Stop, and close the meter. A second call does nothing."""
        self._stack.close()

    def counters(self) -> ExecCounters:
        """The counters so far."""
        return self._metering.counters()

    # -- inside -----------------------------------------------------------------------------------

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon, or to the processes that it left in the background."""
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
