"""What holds for every test, in `tests/` and `bench/tests/`: signals, ports, whether it may skip.

The conftest of either folder imports `pytest_runtest_makereport` from here.
"""

import os
import signal
from collections.abc import Generator

import pytest

from tests.support.namespace import Namespace, missing_rights

NO_SKIP = os.environ.get("CI") == "true" or os.environ.get("NETLOG_NO_SKIP") == "1"
"""Where everything is there that a test could ask for, one that skips itself has failed."""


KERNEL_LACKS = "the kernel has no "
"""Begins the reason of a skip that is allowed everywhere: no test can install a kernel's module."""


def take_back_signals() -> None:
    """Undo what the suite was started with, since every process that a test starts inherits it.

    `nohup` ignores SIGHUP, a shell's `&` SIGINT and SIGQUIT, and what a shell finds ignored its
    `trap` cannot change. Python itself ignores SIGPIPE and SIGXFSZ, for itself alone.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def leave_shared_ports() -> None:
    """Give a worker of pytest-xdist a loopback of its own, where it may make one.

    A test that closes a port and opens it again would find another worker's test there.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and missing_rights() is None:
        Namespace().move_in()


take_back_signals()
leave_shared_ports()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test a failed one where nothing may be skipped."""
    report = yield
    why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    allowed = why.removeprefix("Skipped: ").startswith(KERNEL_LACKS)
    if NO_SKIP and report.skipped and not allowed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} ({call.when}) was skipped, which CI=true and NETLOG_NO_SKIP=1 forbid: "
            f"{why}"
        )
    return report
