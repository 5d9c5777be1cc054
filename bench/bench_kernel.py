"""What a relay's counting costs beside counters in the kernel, on one live TUN.

The counters are a tc eBPF program with a per-CPU hash map, attached to the interface, and
connection tracking with accounting. Measured is the CPU time that each adds to writing a packet
into the TUN, in turns with writing it without. A further row has everything that `netlog watch`
adds: its own CPU time, and the cost that tapping adds to the write. netlog's figure is what a
relay's counting takes for a batch of the same packets. The difference of two writes is near the
noise of a busy machine, so the JSON has every round.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import BENCH
from bench.bench_count import timed
from bench.harness import Budget, Row, tool_or_skip
from bench.live import NAME, Live, datagrams, live_tun
from bench.native import ffi, lib
from bench.packets import Meter, Ring, counting
from tests.support.namespace import wait_for

CONNECTIONS = 4096
ROUNDS = 25
BUDGET = Budget("<=", 1.0)
RULES = """
add table inet t
add chain inet t c { type filter hook input priority 0; }
add rule inet t c ct state invalid counter
"""
SETTLE_S = 1.5


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """The interface."""
    with live_tun() as tun:
        yield tun


@pytest.fixture(scope="module")
def ring() -> Iterator[Ring]:
    """A ring with one packet of each connection."""
    with Ring(CONNECTIONS, slots=CONNECTIONS) as made:
        datagrams(made)
        yield made


@pytest.fixture(scope="module")
def counted_ns(ring: Ring) -> float:
    """The meter's time for a packet of the same ring."""
    with Meter(CONNECTIONS) as meter:
        count = timed(lib.bench_count, counting(ring, meter.lanes[0]))
        times = [count() for _ in range(4 * ROUNDS)]
        assert meter.rows() == CONNECTIONS
    return statistics.median(times[ROUNDS:])


def added_ns(live: Live, ring: Ring, counter: Callable[[], Any]) -> tuple[float, list[float]]:
    """Return what a counter adds to a write: the median of the differences, and all of them."""
    differences = []
    for _ in range(ROUNDS):
        plain = live.write(ring)
        with counter():
            live.write(ring)  # the counter meets the connections
            differences.append(live.write(ring) - plain)
    return statistics.median(differences), differences


@contextmanager
def bpf(live: Live) -> Iterator[None]:
    """Attach the eBPF program; check that it has seen every packet."""
    counter = ffi.new("struct bench_bpf *")
    with live.namespace.entered():
        error = lib.bench_bpf_open(counter, live.index, 2 * CONNECTIONS)
    if error:
        pytest.skip(f"the kernel refuses a tcx program: {os.strerror(-error)}")
    try:
        yield
        assert lib.bench_bpf_packets(counter) == 2 * CONNECTIONS
    finally:
        lib.bench_bpf_close(counter)


@contextmanager
def conntrack(live: Live) -> Iterator[None]:
    """Turn on connection tracking, with a rule that asks for it."""
    live.namespace.run(tool_or_skip("nft"), RULES)
    try:
        yield
        count = Path("/proc/sys/net/netfilter/nf_conntrack_count")
        with live.namespace.entered():
            assert int(count.read_text()) == CONNECTIONS
    finally:
        live.namespace.run("nft", "delete table inet t")


def test_bpf(benchmark: Any, live: Live, ring: Ring, counted_ns: float) -> None:  # noqa: ANN401
    """Not more than the eBPF program."""
    beside, rounds = added_ns(live, ring, lambda: bpf(live))
    save(benchmark, counted_ns, beside, rounds, "tc eBPF, per-CPU hash")


def test_conntrack(benchmark: Any, live: Live, ring: Ring, counted_ns: float) -> None:  # noqa: ANN401
    """Not more than connection tracking, which does more than counting."""
    live.namespace.sysctl("net/netfilter/nf_conntrack_acct", 1)
    beside, rounds = added_ns(live, ring, lambda: conntrack(live))
    save(benchmark, counted_ns, beside, rounds, "conntrack accounting")


def save(
    benchmark: Any,  # noqa: ANN401
    counted_ns: float,
    beside: float,
    rounds: list[float],
    name: str,
) -> None:
    """Save the row of a counter in the kernel."""
    benchmark.pedantic(lambda: None, rounds=1)  # measured already
    benchmark.extra_info["beside_rounds"] = rounds
    Row(
        f"counting on a live TUN in a relay, {CONNECTIONS} connections",
        counted_ns,
        "ns",
        beside,
        name,
        counted_ns / beside,
        BUDGET,
    ).save(benchmark)


def _task_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def test_watch(benchmark: Any, live: Live, ring: Ring, tmp_path: Path) -> None:  # noqa: ANN401
    """Everything that a watch adds: to the writer, and in its own process."""
    beside, _ = added_ns(live, ring, lambda: bpf(live))
    plain = statistics.median(live.write(ring) for _ in range(ROUNDS))
    said = tmp_path / "said"
    with said.open("wb") as out:
        watch = live.namespace.popen(
            *(sys.executable, "-m", "netlog", "watch", "--tun", NAME, "--output", "/dev/null"),
            cwd=BENCH.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: b"every" in said.read_bytes(), "the watch")
        used_ns = _task_ns(watch.pid)
        tapped = statistics.median(live.write(ring) for _ in range(ROUNDS))
        time.sleep(SETTLE_S)  # until its ring is empty
        used_ns = _task_ns(watch.pid) - used_ns
        watch.send_signal(signal.SIGTERM)
        watch.wait(30)
    finally:
        watch.kill()
        watch.wait()
    packets = ROUNDS * CONNECTIONS
    assert f"tun {NAME}: {packets} frames counted, 0 dropped" in said.read_text()
    added = tapped - plain + used_ns / packets
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(of_the_writer=tapped - plain, of_the_watch=used_ns / packets)
    name = f"watch of a live TUN, all that it adds, {CONNECTIONS} connections"
    Row(name, added, "ns", beside, "tc eBPF, per-CPU hash", added / beside).save(benchmark)
