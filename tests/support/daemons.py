"""VPN daemons of the distribution under `netlog exec`, each in a namespace of its own.

The overlay is 100.64.0.1 (left) and 100.64.0.2 (right) on `tun0`, the underlay 192.0.2.1 and
192.0.2.2 on `lan0`. IPv6 is off, so that what crosses either is what the test and the daemon send.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.daemon_configs import PATH
from tests.support.gateways import joined
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import kernel, summed

EXEC = (sys.executable, "-W", "error", "-m", "netlog", "exec")
BULK_BYTES = 3 << 20
QUIET_LOOKS = 10
STOPS = 20
Sums = tuple[int, int, int, int]


@dataclass
class Metered:
    """A daemon under `netlog exec`."""

    process: subprocess.Popen[bytes]
    namespace: Namespace
    folder: Path
    interface: str = "tun0"
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def said(self) -> str:
        """What the daemon and netlog have said so far."""
        return (self.folder / "said").read_text(errors="replace")

    def is_up(self) -> bool:
        """Whether the tunnel's interface is there and up; a daemon that has ended never will be."""
        assert self.process.poll() is None, self.said
        try:
            return self.namespace.carries(self.interface)
        except AssertionError:
            return False

    def await_answer(self, other: "Metered") -> None:
        """Wait until packets pass between the two."""
        try:
            for each in (self, other):
                wait_for(each.is_up, "the interface is up")
            wait_for(lambda: answers(self), "the other end answers")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}\n{other.said}") from error

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status, with its messages read.

        Some ask twice: vtun's server leaves its sessions behind, which then get the signal.
        """
        for _ in range(STOPS):
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
                break
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended; its exit status, with its messages read."""
        status = self.process.wait(30)
        lines = (self.folder / "flows.jsonl").read_text().splitlines()
        self.messages = [json.loads(line) for line in lines]
        assert "Traceback" not in self.said, self.said
        return status

    def tun(self) -> Sums:
        """All that its messages have of the interface."""
        return summed(self.messages, "virtual", "subnet", "exit")

    def sock(self) -> Sums:
        """All that they have of the sockets."""
        return summed(self.messages, "physical")


def popen(namespace: Namespace, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `netlog exec`, in a session of its own."""
    with (folder / "said").open("ab") as said:
        return namespace.popen(
            *EXEC,
            *("--output", "flows.jsonl", "--node-id", "n", "--route", "100.64.0.0/24"),
            *("--poll-period", "0.2", *arguments),
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": PATH},
            start_new_session=True,
        )


@contextlib.contextmanager
def metered(
    namespace: Namespace, folder: Path, command: Sequence[str], *options: str
) -> Iterator[Metered]:
    """Run a daemon under `netlog exec`; whatever happens, end it."""
    folder.mkdir(exist_ok=True)
    process = popen(namespace, folder, *options, "--", *command)
    try:
        yield Metered(process, namespace, folder)
    finally:
        # Its own session: the daemon has to go too, also where netlog is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def underlay() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a link, in which nobody talks IPv6."""
    with joined() as (left, right):
        for namespace in (left, right):
            for which in ("all", "default"):
                namespace.sysctl(f"net/ipv6/conf/{which}/disable_ipv6", 1)
        yield left, right


@contextlib.contextmanager
def tunnel(
    folder: Path, left_command: Sequence[str], right_command: Sequence[str], *options: str
) -> Iterator[tuple[Metered, Metered]]:
    """A daemon on either side, both metered, to the point where packets pass."""
    with (
        underlay() as (left, right),
        metered(left, folder / "a", left_command, *options) as a,
        metered(right, folder / "b", right_command, *options) as b,
    ):
        a.await_answer(b)
        yield a, b


def answers(a: Metered) -> bool:
    """Whether a ping comes back."""
    with a.namespace.entered():
        done = subprocess.run(
            ("ping", "-q", "-c", "1", "-W", "0.3", "100.64.0.2"), capture_output=True, check=False
        )
    return done.returncode == 0


def talk(a: Metered, b: Metered) -> None:
    """Ping from a to b, and move some megabytes over TCP from a to b."""
    a.namespace.run("ping", "-q", "-c", "5", "-i", "0.01", "100.64.0.2")
    with b.namespace.entered():
        listening = socket.create_server(("100.64.0.2", 6000))
    with listening:
        with a.namespace.entered():
            sending = socket.create_connection(("100.64.0.2", 6000), timeout=20)
        with sending, listening.accept()[0] as receiving:
            receiving.settimeout(20)
            sender = threading.Thread(target=send, args=(sending,))
            sender.start()
            received = 0
            while got := len(receiving.recv(1 << 16)):
                received += got
            sender.join()
    assert received == BULK_BYTES


def send(sending: socket.socket) -> None:
    """Send BULK_BYTES, and no more."""
    data = bytes(1 << 16)
    for _ in range(BULK_BYTES // len(data)):
        sending.sendall(data)
    sending.shutdown(socket.SHUT_WR)


def rest(*ends: Metered) -> None:
    """Wait until nothing crosses the interfaces any more; TCP may hold a last small piece back."""
    seen: list[Any] = []

    def unchanged() -> bool:
        seen.append([end.namespace.counters(end.interface) for end in ends])
        return len(seen) > QUIET_LOOKS and all(each == seen[-1] for each in seen[-QUIET_LOOKS:])

    wait_for(unchanged, "the tunnel is quiet")


def udp(namespace: Namespace) -> tuple[int, int]:
    """Datagrams that the kernel sent for a namespace's sockets, and that they received."""
    found = namespace.snmp()
    return found["UdpOutDatagrams"], found["UdpInDatagrams"]


def remotes(end: Metered) -> dict[str, tuple[int, int]]:
    """Packets, tx and rx, by the remote endpoint that its messages name."""
    found: dict[str, tuple[int, int]] = {}
    for message in end.messages:
        for entry in message.get("physicalTraffic", ()):
            sent, received = found.get(entry["dst"], (0, 0))
            sent, received = sent + entry.get("txPkts", 0), received + entry.get("rxPkts", 0)
            found[entry["dst"]] = sent, received
    return found


def check(
    a: Metered, b: Metered, *, header_bytes: int = 0, streams: int = 0, physical: bool = True
) -> None:
    """Talk, stop both, and compare their messages with the kernel.

    `header_bytes`: what the interface's own counters have on each packet beyond it. `streams`: how
    often each end wrote to a TCP connection, and read from it.
    """
    talk(a, b)
    rest(a, b)
    # Both at once: one end may give its interface up when the other one ends.
    found = [kernel(each.namespace.counters(each.interface)) for each in (a, b)]
    for each, expected in zip((a, b), found, strict=True):
        each.stop()
        sent, sent_bytes, received, received_bytes = each.tun()
        sent_bytes += header_bytes * sent
        received_bytes += header_bytes * received
        counted = sent, sent_bytes, received, received_bytes
        assert counted == expected, f"{counted} != {expected}: {each.said}"
        assert expected[1] + expected[3] > BULK_BYTES
        if physical:
            datagrams = each.sock()[0], each.sock()[2]
            sockets = tuple(streams + n for n in udp(each.namespace))
            assert datagrams == sockets, f"{datagrams} != {sockets}: {each.said}"
