"""A call that `netlog exec` hooks costs at most 15 ns more than the bare one; OpenVPN keeps 0.98.

For calls: bench/programs/calls.c runs under the preload library. It makes each call through the
library and around it, in turns, on a TUN and on UDP sockets in a network namespace that this bench
makes. Only the program itself sends. The measured value is the median of the differences between
neighbouring calls; the ratio is that of the two calls.

For OpenVPN: a tunnel between two namespaces, AES-256-GCM over UDP, with both ends metered or
neither, in turns, and one TCP connection of iperf3 through it.
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import netlog
from bench import BENCH
from bench.compiling import build_program
from bench.harness import Budget, Row, Turns, tool_or_skip
from bench.peers import rights_or_skip
from netlog.preload.library import library_path, preload_environment
from tests.support import daemon_configs
from tests.support.daemon_configs import Commands
from tests.support.daemons import underlay
from tests.support.namespace import Namespace

KINDS = {
    "read-tun": "read of a TUN",
    "write-tun": "write to a TUN",
    "recvfrom": "recvfrom, UDP",
    "sendto": "sendto, UDP",
    "recv": "recv, connected UDP",
    "send": "send, connected UDP",
    "recvmsg": "recvmsg, UDP",
    "sendmsg": "sendmsg, UDP",
    "read-other": "read of another descriptor",
}
CALLS_A_BLOCK = 128
"""The same as CALLS in calls.c."""
BLOCKS = 2000
ROUNDS = 5
COUNTED_BLOCKS = 50
CALL_BUDGET = Budget("<=", 15, "ns")
OPENVPN_BUDGET = Budget(">=", 0.98)
OPENVPN_RUNS = 7
SECONDS = 4
LIMIT_S = 20.0
NO_PACKET = 3
"""Exit status of calls.c if no packet came: a new interface drops packets for a while."""
TRIES = 20


class Calls:
    """The program, with its interface and its meter."""

    def __init__(self, namespace: Namespace, meter: Path) -> None:
        self._namespace = namespace
        self._program = str(build_program(BENCH / "programs" / "calls.c", with_core=False))
        self._environment = preload_environment(os.environ, library_path(), str(meter))

    def ns(self, kind: str) -> tuple[float, float, float]:
        """Return ns for a hooked call, for a bare one, and the difference."""
        said = self._run(self._program, kind, str(BLOCKS), "both").stdout
        hooked, bare, more = map(float, said.split())
        return hooked, bare, more

    def instructions(self, valgrind: str, kind: str, way: str) -> float:
        """Return user-space instructions a call, including those of the loop around it."""
        tool = ("--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=measure")
        command = (valgrind, *tool, self._program, kind, str(COUNTED_BLOCKS), way)
        found = re.search(r"Collected : (\d+)", self._run(*command).stderr)
        assert found
        return int(found[1]) / (COUNTED_BLOCKS * CALLS_A_BLOCK)

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        for _ in range(TRIES):
            with self._namespace.entered():
                done = subprocess.run(
                    command, env=self._environment, check=False, capture_output=True, text=True
                )
            if done.returncode != NO_PACKET:
                break
            time.sleep(0.1)
        done.check_returncode()
        return done


@pytest.fixture(name="calls", scope="module")
def _calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    rights_or_skip()
    folder = tmp_path_factory.mktemp("exec")
    with (
        netlog.Meter.create(folder / "run" / "meter", 1024, max_lanes=2) as meter,
        Namespace() as namespace,
    ):
        namespace.ip("tuntap add dev tun0 mode tun")
        namespace.quiet("tun0")
        namespace.up("tun0", "100.64.0.1/24")
        assert meter.path
        yield Calls(namespace, Path(meter.path))


@pytest.mark.parametrize("kind", KINDS)
def test_call(benchmark: Any, calls: Calls, kind: str) -> None:  # noqa: ANN401
    """A hooked call beside the bare one."""
    rounds: list[tuple[float, float, float]] = []
    benchmark.pedantic(lambda: rounds.append(calls.ns(kind)), rounds=ROUNDS, iterations=1)
    benchmark.extra_info.update(rounds=rounds, load=os.getloadavg()[0])
    hooked, bare, more = (statistics.median(each) for each in zip(*rounds, strict=True))
    Row(
        f"exec, {KINDS[kind]}: more than bare", more, "ns", bare, "bare", hooked / bare, CALL_BUDGET
    ).save(benchmark)


@pytest.mark.parametrize("kind", ["read-tun", "write-tun", "recvfrom", "sendto"])
def test_instructions(benchmark: Any, calls: Calls, kind: str) -> None:  # noqa: ANN401
    """What the hook adds, counted by callgrind: other users of the machine do not affect it."""
    valgrind = tool_or_skip("valgrind")
    added: list[float] = []

    def count() -> None:
        hooked, bare = (calls.instructions(valgrind, kind, way) for way in ("hooked", "bare"))
        added.append(hooked - bare)

    benchmark.pedantic(count, rounds=1, iterations=1)
    Row(f"exec, {KINDS[kind]}: instructions more", added[0], "instr").save(benchmark)


@contextlib.contextmanager
def _daemons(ends: tuple[Namespace, Namespace], commands: Commands, folder: Path) -> Iterator[None]:
    """Both ends' commands, to the point where packets pass."""
    running = []
    with (folder / "said").open("wb") as said:
        try:
            for end, command in zip(ends, commands, strict=True):
                running.append(
                    end.popen(
                        *command,
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=said,
                        cwd=folder,
                        env=os.environ | {"PYTHONPATH": str(BENCH.parent)},
                    )
                )
            deadline_s = time.monotonic() + LIMIT_S
            while not _answers(ends[0]):
                assert time.monotonic() < deadline_s, (folder / "said").read_text()[-2000:]
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(20)


def _answers(end: Namespace) -> bool:
    with end.entered():
        ping = ("ping", "-q", "-c", "1", "-W", "0.3", "100.64.0.2")
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0


def _megabits(ends: tuple[Namespace, Namespace], iperf: str) -> float:
    """What one TCP connection through the tunnel moves in a second."""
    command = (iperf, "-c", "100.64.0.2", "-t", str(SECONDS), "-O", "1", "-J")
    for _ in range(TRIES):
        server = ends[1].popen(iperf, "-s", "-1", stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.2)  # until it listens; if the client comes too early, try again
            with ends[0].entered():
                done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            server.kill()
            server.wait()
        # If the other end hangs up before the sums, the exit status may or may not say so.
        sums = json.loads(done.stdout or "{}").get("end", {}).get("sum_received")
        if done.returncode == 0 and sums:
            return float(sums["bits_per_second"]) / 1e6
    raise AssertionError(done.stdout[-2000:])


def test_openvpn(benchmark: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """OpenVPN with both ends metered, beside OpenVPN without netlog."""
    iperf = tool_or_skip("iperf3")
    tool_or_skip("openvpn")
    rights_or_skip()
    plain = daemon_configs.openvpn(tmp_path, "--verb", "1", tls=True)

    def under_netlog(end: int) -> tuple[str, ...]:
        command = (sys.executable, "-m", "netlog", "exec", "--output", f"{end}.jsonl", "--")
        return *command, *plain[end]

    metered = under_netlog(0), under_netlog(1)
    loads = [os.getloadavg()[0]]
    with underlay() as ends:

        def through(commands: Commands) -> float:
            with _daemons(ends, commands, tmp_path):
                return _megabits(ends, iperf)

        turns = Turns(benchmark, lambda: through(metered), lambda: through(plain))
        measured, beside = turns.medians(OPENVPN_RUNS)
    loads.append(os.getloadavg()[0])
    messages = [(tmp_path / f"{end}.jsonl").read_text() for end in range(2)]
    assert all("virtualTraffic" in text or "exitTraffic" in text for text in messages)
    benchmark.extra_info["loads"] = loads
    Row(
        f"OpenVPN, AES-256-GCM, both ends metered (load {loads[0]:.1f} to {loads[1]:.1f})",
        measured,
        "Mbit/s",
        beside,
        "not metered",
        measured / beside,
        OPENVPN_BUDGET,
    ).save(benchmark)
