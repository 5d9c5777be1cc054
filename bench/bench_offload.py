"""TCP through two gateways: offloads make it 3x, and metering costs at most 2 % of it.

Two gateways in network namespaces that this bench makes, as in bench_relay.py: each has a TUN of
MTU 1420, a UDP socket and a relay, and a link of MTU 1500 joins them. iperf3 sends one stream from
behind one gateway to behind the other; the rate is what its receiver got. The other tunnels are
daemons that do not encrypt either, if they are installed, between two namespaces of the same kind.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import pytest

from bench.harness import Budget, Row, Turns, rounds_of, tool_or_skip
from bench.peers import rights_or_skip
from bench.windows import Windows, alternate, save
from netlog import Relay
from tests.support import daemon_configs
from tests.support.daemons import underlay
from tests.support.gateways import Gateway, pair
from tests.support.namespace import Namespace, wait_for

ROUNDS = 5
STREAM_S = 2
WINDOWS = 201
WINDOW_S = 0.07
SETTLE_S = 0.01
TUN_MTU = 1420
PORT = "5201"
VTUN_PORT = 5000
FLOWING_GBITS = 0.1
PEER_ROUNDS = 3
STARTED_S = 20
PING = ("ping", "-q", "-c", "1", "-W", "0.3", "100.64.0.2")


@dataclass
class Path:
    """Both gateways, their relays running, and an iperf3 server behind the second."""

    left: Gateway
    right: Gateway
    relays: tuple[Relay, ...]

    def client(self, seconds: float, *options: str) -> tuple[str, ...]:
        """Return iperf3's command behind the first gateway."""
        return ("iperf3", "-c", self.right.overlay4, "-p", PORT, "-t", str(seconds), *options)

    def gigabits(self) -> float:
        """Send one stream; return the Gbit/s that arrived."""
        said = json.loads(self.left.namespace.run(*self.client(STREAM_S, "-J")))
        return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9

    def meter(self, *, enabled: bool) -> None:
        """Switch metering of all four devices on or off."""
        for gateway in (self.left, self.right):
            gateway.tun.set_statistics_enabled(enabled)
            gateway.sock.set_statistics_enabled(enabled)

    def window(self) -> tuple[float, float]:
        """Return Gbit/s written to the second TUN, and this process's CPU ns a packet."""
        before, wall = self.relays[1].counters().rx, time.perf_counter()
        cpu_ns = time.process_time_ns()
        time.sleep(WINDOW_S)
        after, elapsed_s = self.relays[1].counters().rx, time.perf_counter() - wall
        packets = max(1, after.packets - before.packets)
        return (
            (after.bytes - before.bytes) * 8 / elapsed_s / 1e9,
            (time.process_time_ns() - cpu_ns) / packets,
        )


@contextmanager
def path(*, offload: bool) -> Iterator[Path]:
    """Make it; skips where there are no rights for it."""
    rights_or_skip()
    tool_or_skip("iperf3")
    with ExitStack() as stack:
        left, right = stack.enter_context(pair(offload=offload))
        for gateway in (left, right):
            gateway.namespace.ip(f"link set tun0 mtu {TUN_MTU}")
        relays = tuple(stack.enter_context(gateway.relay()) for gateway in (left, right))
        serve(stack, right.namespace)
        yield Path(left, right, relays)


def await_listener(namespace: Namespace, port: int) -> None:
    """Wait until a TCP socket of a namespace listens at a port."""

    def listens() -> bool:
        with namespace.entered():
            lines = FilePath("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        return any(f":{port:04X} 00000000:0000 0A" in line for line in lines)

    wait_for(listens, f"port {port} listens")


def serve(stack: ExitStack, namespace: Namespace) -> None:
    """Run an iperf3 server, to the point where it listens."""
    server = namespace.popen(
        *("iperf3", "-s", "-p", PORT, "--forceflush"), stdout=subprocess.PIPE, text=True
    )
    stack.enter_context(server)
    stack.callback(server.kill)
    assert server.stdout is not None
    while "listening" not in server.stdout.readline():
        pass


@contextmanager
def tunnel(name: str, folder: FilePath) -> Iterator[Callable[[], float]]:
    """A daemon at either end, packets passing; gives what measures a stream, in Gbit/s."""
    commands = daemon_configs.socat() if name == "socat" else getattr(daemon_configs, name)(folder)
    with ExitStack() as stack:
        sides = stack.enter_context(underlay())
        for side, command in zip(sides, commands, strict=True):
            if "net" in command:  # vtun's client, which ends if nobody listens
                await_listener(sides[0], VTUN_PORT)
            said = stack.enter_context((folder / "said").open("ab"))
            quiet = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
            process = side.popen(
                *command,
                **quiet,
                start_new_session=True,
                env={**os.environ, "PATH": daemon_configs.PATH},
            )
            stack.callback(process.wait)
            # Kill the whole session, because some daemons leave children behind.
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        left, right = sides
        deadline_s = time.monotonic() + STARTED_S
        while left.popen(*PING, stdout=subprocess.DEVNULL).wait():
            if time.monotonic() > deadline_s:
                last = (folder / "said").read_text(errors="replace").strip().splitlines()[-1:]
                pytest.fail(f"{name} passes no packets; its last output: {last}")
        serve(stack, right)

        def gigabits() -> float:
            client = ("iperf3", "-c", "100.64.0.2", "-p", PORT, "-t", str(STREAM_S), "-J")
            said = json.loads(left.run(*client))
            return float(said["end"]["sum_received"]["bits_per_second"]) / 1e9

        yield gigabits


def test_tcp(benchmark: Any) -> None:  # noqa: ANN401 - pytest-benchmark has no types
    """One TCP stream, with offloads and without."""
    with path(offload=True) as fast, path(offload=False) as slow:
        measured, beside = Turns(benchmark, fast.gigabits, slow.gigabits).medians(ROUNDS)
    Row(
        "relay, one TCP stream through two gateways",
        measured,
        "Gbit/s",
        beside,
        "without offloads",
        measured / beside,
        Budget(">=", 3),
    ).save(benchmark)


@pytest.mark.parametrize(
    ("name", "program"), [("socat", "socat"), ("fastd", "fastd"), ("vtun", "vtund")]
)
def test_peers(benchmark: Any, tmp_path: FilePath, name: str, program: str) -> None:  # noqa: ANN401
    """One TCP stream, beside the same through another tunnel in user space."""
    tool_or_skip(program)
    with path(offload=True) as fast, tunnel(name, tmp_path) as peer:
        measured, beside = Turns(benchmark, fast.gigabits, peer).medians(PEER_ROUNDS)
    Row(
        f"relay with offloads, one TCP stream, beside {name}",
        measured,
        "Gbit/s",
        beside,
        name,
        measured / beside,
        Budget(">=", 1),
    ).save(benchmark)


@pytest.fixture(scope="module")
def windows() -> tuple[Windows, Windows]:
    """The same stream, metering on and off in turns."""
    with path(offload=True) as fast, ExitStack() as stack:
        # Longer than the windows take even on a busy machine; the client is killed after them.
        seconds = rounds_of(WINDOWS) * 4 * (WINDOW_S + SETTLE_S) + 10
        client = fast.left.namespace.popen(*fast.client(seconds), stdout=subprocess.DEVNULL)
        stack.callback(client.wait)
        stack.callback(client.kill)
        while fast.window()[0] < FLOWING_GBITS:
            pass
        return alternate(fast, WINDOWS, SETTLE_S)


def test_metering(benchmark: Any, windows: tuple[Windows, Windows]) -> None:  # noqa: ANN401
    """The rate that arrives."""
    metered, plain = windows
    name = "relay with offloads, one TCP stream"
    save(benchmark, name, "Gbit/s", metered.rates, plain.rates, Budget(">=", 0.98))


def test_cost(benchmark: Any, windows: tuple[Windows, Windows]) -> None:  # noqa: ANN401
    """CPU time of both relays a packet, which other users of the machine affect less."""
    metered, plain = windows
    name = "relay with offloads, CPU time a packet, both ends"
    save(benchmark, name, "ns", metered.costs_ns, plain.costs_ns)
