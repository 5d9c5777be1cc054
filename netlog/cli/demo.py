"""`netlog demo`: two gateways in their own namespaces, checked against the kernel's counters."""

import argparse
import errno
import json
import math
import os
import subprocess
import sys
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.diagnostics import TUN_DEVICE, Lines, advice_on, describe, say
from netlog.cli.waiting import StopRequest
from netlog.demo.namespace import Namespace
from netlog.demo.scenario import Demo, Interrupted, Outcome
from netlog.demo.table import header, message_lines, verdict_lines

__all__ = ["add_parser"]

DEFAULT_SECONDS = 5.0
MAX_SECONDS = 86400.0
INSIDE = "NETLOG_DEMO_INSIDE"
"""This environment variable tells a demo that it already runs in its own user namespace."""
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
"""The new process also needs a network namespace of its own: from its user namespace, it has no
right to return to a network namespace that others own."""

ROOT_LACKS: Lines = (
    "cannot create network namespaces: this is root, but CAP_SYS_ADMIN is missing",
    "in a container, run the container with --privileged",
)
USER_LACKS: Lines = (
    "run the demo as root: sudo netlog demo",
    "or allow user namespaces: sudo sysctl user.max_user_namespaces=10000",
    "on Debian, also set kernel.unprivileged_userns_clone=1",
    "on Ubuntu, also set kernel.apparmor_restrict_unprivileged_userns=0",
)

DESCRIPTION = """\
Create two gateways, a subnet and an outside world in network namespaces. TCP, UDP
and ICMP traffic flows between them. netlog shows each message as it comes, then
compares the sum of all messages with the kernel's own counters.

The demo does not touch the host's network, and it removes everything at the end.
Its gateways do not encrypt.
"""
EPILOG = """\
exit status: 0 if packets and bytes agree exactly; 1 if they do not, or if something
is missing; 130 after Ctrl-C.
example: netlog demo --seconds 10 --json
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "demo", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=DEFAULT_SECONDS,
        metavar="N",
        help=f"how long traffic flows, in seconds (default: {DEFAULT_SECONDS:g})",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the messages as JSON lines, with the verdict as the last line",
    )
    parser.set_defaults(execute=demo)


def demo(options: argparse.Namespace) -> int:
    """Run the demo; the exit status says whether messages and kernel agree."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    with StopRequest() as stop:
        if missing := _enter_user_namespace():
            for line in missing:
                say(line)
            return 1
        show = _show(as_json=options.json)
        say("the relays of this demo do not encrypt")
        try:
            outcome = Demo(options.seconds, show.message, stop.wait).run()
        except Interrupted:
            say("stopped before the verdict; everything was removed")
            return 128 + (stop.signal or 0)
        show.verdict(outcome)
        return 0 if outcome.verdict.reconciled else 1


def _show(*, as_json: bool) -> "_Json | _Lines | _Terminal":
    if as_json:
        return _Json()
    return _Terminal() if sys.stdout.isatty() else _Lines()


class _Json:
    """Messages as they would be stored, and the verdict as one object."""

    @staticmethod
    def message(text: bytes, _: dict[str, Any]) -> None:
        sys.stdout.write(text.decode() + "\n")
        sys.stdout.flush()

    @staticmethod
    def verdict(found: Outcome) -> None:
        sys.stdout.write(json.dumps(found.verdict.as_json()) + "\n")
        sys.stdout.flush()


class _Lines:
    """Messages as rows under one header, and the verdict as a table of its own."""

    def __init__(self) -> None:
        self._lines = [header()]

    def message(self, _: bytes, message: dict[str, Any]) -> None:
        self._lines.extend(message_lines(message))
        self._flush()

    def verdict(self, found: Outcome) -> None:
        self._lines.extend(("", *verdict_lines(found.verdict)))
        self._flush()

    def _flush(self) -> None:
        sys.stdout.write("".join(f"{line}\n" for line in self._lines))
        sys.stdout.flush()
        self._lines.clear()


class _Terminal:
    """The same in tables that fit the terminal, with colours if its user wants them."""

    def __init__(self) -> None:
        # Imported only for a terminal, because both load rich.
        from netlog.demo.terminal import message_table, verdict_table  # noqa: PLC0415
        from netlog.display.console import open_console  # noqa: PLC0415

        self._console = open_console(sys.stdout)
        self._message_table, self._verdict_table = message_table, verdict_table

    def message(self, _: bytes, message: dict[str, Any]) -> None:
        self._console.print(self._message_table(message, self._console.width))

    def verdict(self, found: Outcome) -> None:
        self._console.print(self._verdict_table(found.verdict, found.traffic))


def _enter_user_namespace() -> Lines:
    """Get the right to create namespaces and a TUN; without root, restart in a user namespace.

    Returns:
        What is missing and how to get it; empty if nothing is missing.
    """
    try:
        os.close(os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        error.filename = TUN_DEVICE
        return (describe(error), *advice_on(error))
    try:
        Namespace().close()
    except PermissionError:
        return ROOT_LACKS if os.geteuid() == 0 else _begin_anew()
    return ()


def _begin_anew() -> Lines:
    """Replace this process with one that is root in a new user namespace."""
    probe = subprocess.run(  # noqa: S603 - a constant
        [*UNSHARE, "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if INSIDE not in os.environ and probe.returncode == 0:
        command = (*UNSHARE, "--", sys.executable, *sys.orig_argv[1:])
        os.execvpe(command[0], command, os.environ | {INSIDE: "1"})  # noqa: S606 - this program
    return (
        f"this is not root, and user namespaces are not available: {probe.stderr.strip()}",
        *USER_LACKS,
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_SECONDS or math.isnan(seconds):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text}")
    return seconds
