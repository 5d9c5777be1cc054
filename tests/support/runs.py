"""`netlog run` as a process of its own, for the tests."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.gateways import joined
from tests.support.namespace import LinkCounters, Namespace, wait_for

COMMAND = (sys.executable, "-W", "error", "-m", "netlog", "run")

IPV4_UDP_BYTES = 20 + 8

CONFIG = """
poll_period_s = 0.2
exit_traffic = "log"
max_flows = 1024

[node]
id = "node-{me}"

[tun]
name = "netlog0"
addresses = ["100.64.0.{me}/32", "fd7a:115c:a1e0::{me}/128"]

[sock]
listen = "0.0.0.0:41641"

[[peers]]
name = "node-{peer}"
endpoint = "192.0.2.{peer}:41641"
allowed_ips = ["100.64.0.{peer}/32", "fd7a:115c:a1e0::{peer}/128"]
"""


def without_offload(config: str) -> str:
    """Change a configuration for a test whose judge is the kernel's own counters.

    They take a super-packet for one packet, and several datagrams that are sent as one for one.
    """
    return config.replace("[tun]\n", "[tun]\noffload = false\n")


@dataclass
class Running:
    """A `netlog run` and what it has said.

    `joined`: datagrams that the test knows to have gone into the TUN as one with another.
    """

    process: subprocess.Popen[bytes]
    namespace: Namespace
    folder: Path
    messages: list[dict[str, Any]] = field(default_factory=list)
    joined: int = 0

    @property
    def offload(self) -> bool:
        """Whether it takes super-packets."""
        return "offload = false" not in (self.folder / "gateway.toml").read_text()

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return (self.folder / "stderr").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status, with its messages read."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended; its exit status, with its messages read."""
        status = self.process.wait(60)
        lines = (self.folder / "stdout").read_bytes().splitlines(keepends=True)
        assert all(line.endswith(b"\n") for line in lines)
        self.messages = [json.loads(line) for line in lines]
        assert "Traceback" not in self.said, self.said
        return status

    def counters(self) -> LinkCounters:
        """The kernel's counters of its TUN."""
        return self.namespace.counters("netlog0")


@contextlib.contextmanager
def started(
    namespace: Namespace,
    folder: Path,
    config: str,
    stdout: int | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Running]:
    """Run a gateway, not necessarily to the point where it relays; whatever happens, end it.

    `prefix` is a command that becomes the gateway.
    """
    folder.mkdir(exist_ok=True)
    (folder / "gateway.toml").write_text(config)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = namespace.popen(
            *prefix,
            *COMMAND,
            str(folder / "gateway.toml"),
            stdout=out if stdout is None else stdout,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    try:
        yield Running(process, namespace, folder)
    finally:
        process.kill()
        process.wait()


def relays(running: Running) -> bool:
    """Whether it is up; a process that has ended never will be."""
    assert running.process.poll() is None, running.said
    return "a message every" in running.said


def summed(messages: list[dict[str, Any]], *classes: str) -> tuple[int, int, int, int]:
    """Sum the entries of some classes: tx packets, tx bytes, rx packets, rx bytes."""
    tx_packets, tx_bytes, rx_packets, rx_bytes = (
        sum(
            entry.get(member, 0)
            for message in messages
            for name in classes
            for entry in message.get(f"{name}Traffic", ())
        )
        for member in ("txPkts", "txBytes", "rxPkts", "rxBytes")
    )
    return tx_packets, tx_bytes, rx_packets, rx_bytes


def kernel(counters: LinkCounters) -> tuple[int, int, int, int]:
    """The same of the kernel."""
    return counters.tx_packets, counters.tx_bytes, counters.rx_packets, counters.rx_bytes


def crossed(running: Running) -> tuple[int, int, int, int]:
    """What crossed the TUN: the kernel's counters, and the headers of `joined` datagrams."""
    tx_packets, tx_bytes, *rx = kernel(running.counters())
    joined = running.joined
    return tx_packets + joined, tx_bytes + joined * IPV4_UDP_BYTES, rx[0], rx[1]


def lines(running: Running, name: str) -> int:
    """How many lines a file in its folder has."""
    return (running.folder / name).read_bytes().count(b"\n")


def has_lines(running: Running, name: str, count: int) -> bool:
    """Whether a file in its folder has so many lines."""
    return lines(running, name) >= count


@contextlib.contextmanager
def both(
    folder: Path, changes: str = "", *, offload: bool = True, queues: int = 1
) -> Iterator[tuple[Running, Running]]:
    """Two gateways that relay to each other; `changes` go before the first one's configuration."""
    with joined() as (left, right):
        first, second = CONFIG.format(me=1, peer=2), CONFIG.format(me=2, peer=1)
        if not offload:
            first, second = without_offload(first), without_offload(second)
        first = first.replace("[tun]\n", f"[tun]\nqueues = {queues}\n")
        with (
            started(left, folder / "a", changes + first) as a,
            started(right, folder / "b", second) as b,
        ):
            for running in (a, b):
                wait_for(partial(relays, running), "the gateway is up")
            yield a, b


def ask(a: Running, b: Running, rounds: int = 20) -> None:
    """Send datagrams from behind a to behind b and back, over both IP versions."""
    for family, one, two in (
        (socket.AF_INET, "100.64.0.1", "100.64.0.2"),
        (socket.AF_INET6, "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"),
    ):
        with a.namespace.entered():
            user = socket.socket(family, socket.SOCK_DGRAM)
        with b.namespace.entered():
            other = socket.socket(family, socket.SOCK_DGRAM)
        with user, other:
            user.bind((one, 5000))
            other.bind((two, 6000))
            for each in (user, other):
                each.settimeout(20)
            for number in range(rounds):
                user.sendto(bytes(100 + number), (two, 6000))
                other.sendto(*other.recvfrom(2000))
                user.recv(2000)
