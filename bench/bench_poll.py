"""A poll that finds 100 000 connections: swap, drain, classify, encode and write take below 1 s.

It is the logger's own poll, at its shutdown, into a file. Checks that the file has all connections,
as virtual traffic with 1 000 peers, in messages of at most 256 KiB. The memory is the process's
peak, above what it had before.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import BENCH
from bench.bench_memory import resident_bytes
from bench.harness import Budget, Row
from netlog import FileSink, Logger, Meter, MeterDevice, Node, RouterConfig, StaticNodes
from netlog._native import ffi, lib
from netlog.messages.build import MAX_BYTES, Message

CONNECTIONS = 100_000
NODES = 1000
ROUNDS = 5
MANY_ROUNDS = 2
MANY = 4_000_000
MANY_ROUTES = 100_000
AT_ONCE = 1 << 18
PACKET_BYTES = 28
SELF = "100.64.0.1"
PEERS = 0x64400100  # 100.64.1.0, and on


def packets(start: int, stop: int, *, rx: bool = False) -> np.ndarray[Any, Any]:
    """Return a UDP packet of each connection from number `start` on: uint8, shape (n, 28)."""
    number = np.arange(start, stop, dtype=np.uint32)
    rows = np.zeros(
        stop - start,
        [
            *(("head", "u1"), ("tos", "u1"), ("total", ">u2"), ("id", ">u4"), ("ttl", "u1")),
            *(("proto", "u1"), ("sum", ">u2"), ("src", ">u4"), ("dst", ">u4")),
            *(("sport", ">u2"), ("dport", ">u2"), ("udp_length", ">u2"), ("udp_sum", ">u2")),
        ],
    )
    rows["head"], rows["total"], rows["proto"], rows["udp_length"] = 0x45, PACKET_BYTES, 17, 8
    ends = ("dst", "src", "dport", "sport") if rx else ("src", "dst", "sport", "dport")
    rows[ends[0]], rows[ends[1]] = 0x64400001, PEERS + number % NODES
    rows[ends[2]], rows[ends[3]] = 1024 + number // NODES, 443
    return rows.view(np.uint8).reshape(stop - start, PACKET_BYTES)


def count(meter: Meter, connections: int) -> None:
    """Count a packet of each connection, some at a time."""
    for start in range(0, connections, AT_ONCE):
        data = packets(start, min(start + AT_ONCE, connections))
        lengths = np.full(len(data), PACKET_BYTES)
        meter.update_batch(data, np.arange(len(data)) * PACKET_BYTES, lengths)


def count_on(lanes: list[Any], connections: int) -> None:
    """Count as the threads of a relay's queues do.

    The first half of the lanes counts tx, the other half rx. A single lane counts tx only.
    """
    half = len(lanes) // 2
    for number, start in enumerate(range(0, connections, AT_ONCE)):
        for rx in (False, True)[: 1 + (half > 0)]:
            data = packets(start, min(start + AT_ONCE, connections), rx=rx)
            span = ffi.new("struct netlog_span *", {"n": len(data), "bytes": data.size})
            offsets = np.arange(len(data), dtype=np.uint64) * PACKET_BYTES
            lengths = np.full(len(data), PACKET_BYTES, np.uint64)
            span.data = ffi.from_buffer("uint8_t[]", data)
            span.offsets.data = ffi.from_buffer("uint64_t[]", offsets)
            span.lengths.data = ffi.from_buffer("uint64_t[]", lengths)
            span.direction = lib.NETLOG_RX if rx else lib.NETLOG_TX
            lane = lanes[half * rx + number % max(half, 1)]
            assert lib.netlog_lane_count_span(lane, span) == 0


def peak_bytes() -> int:
    """Return the process's peak memory since `clear_refs` was written to."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def poll(path: Path, nodes: StaticNodes | None) -> tuple[float, int]:
    """Return the seconds of a poll, and the memory that it took."""
    logger, sink = Logger(), FileSink(path)
    with Meter(2 * CONNECTIONS) as meter:
        logger.startup(
            "n",
            tun=MeterDevice(meter),
            sink=sink,
            nodes=nodes,
            routes=RouterConfig(routes=["100.64.0.0/10"]),
            poll_period_s=3600,
        )
        count(meter, CONNECTIONS)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes()
        start_s = time.perf_counter()
        logger.shutdown()
        spent_s = time.perf_counter() - start_s
        memory = peak_bytes() - before
    sink.close()
    return spent_s, memory


def check(path: Path) -> None:
    """Check that all connections are there, once, in messages that keep the limit."""
    lines = path.read_bytes().splitlines()
    assert all(len(line) <= MAX_BYTES for line in lines)
    entries = [entry for line in lines for entry in json.loads(line)["virtualTraffic"]]
    assert len({(entry["src"], entry["dst"]) for entry in entries}) == CONNECTIONS
    assert sum(entry["txPkts"] for entry in entries) == CONNECTIONS == len(entries)


@pytest.mark.parametrize("known", [False, True], ids=["routes", "nodes"])
def test_poll(benchmark: Any, tmp_path: Path, known: bool) -> None:  # noqa: ANN401, FBT001
    """The slowest of five polls takes less than a second."""
    addresses = [f"100.64.{n // 256 + 1}.{n % 256}" for n in range(NODES)]
    peers = [Node(f"p{n}", f"p{n}.example.net", (a,)) for n, a in enumerate(addresses)]
    nodes = StaticNodes(Node("n", "n.example.net", (SELF,)), peers) if known else None
    seconds: list[float] = []

    def measure() -> None:
        path = tmp_path / f"{len(seconds)}.jsonl"
        spent_s, _ = poll(path, nodes)
        check(path)
        seconds.append(spent_s)

    benchmark.pedantic(measure, rounds=ROUNDS, iterations=1)
    name = f"poll with 100 000 connections, {'1 000 nodes' if known else 'routes'}"
    slowest = max(seconds)
    Row(f"{name}, slowest of {ROUNDS}", slowest, "s", budget=Budget("<=", 1, "s")).save(benchmark)


class Discarding:
    """A sink that makes each message's text and only adds up its length."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def write(self, message: Message) -> None:
        """Add the length of one message."""
        self.n_bytes += len(message.to_json())


def routes(n: int) -> RouterConfig:
    """Return the overlay and n - 1 further prefixes."""
    others = (f"{10 + i // 65536}.{i // 256 % 256}.{i % 256}.0/24" for i in range(n - 1))
    return RouterConfig(routes=["100.64.0.0/10", *others])


@pytest.mark.parametrize(
    ("n_routes", "n_lanes"), [(1000, 1), (MANY_ROUTES, 1), (1000, 2), (1000, 8)]
)
def test_poll_of_many(benchmark: Any, n_routes: int, n_lanes: int) -> None:  # noqa: ANN401
    """Four million connections: swapped, drained, classified, sorted and encoded within a second.

    The logger has polled as many before, because the kernel must first find memory that a process
    touches for the first time. With several lanes, each connection is on two of them.
    """
    seconds: list[float] = []
    most = MANY // max(n_lanes // 2, 1)
    with Meter(most + most // 2, max_lanes=n_lanes) as meter:
        sink, logger = Discarding(), Logger()
        config = routes(n_routes)
        lanes = [meter.acquire_lane() for _ in range(n_lanes)]
        for number in range(1 + MANY_ROUNDS):
            device = MeterDevice(meter)
            logger.startup("n", tun=device, sink=sink, routes=config, poll_period_s=3600)
            count_on(lanes, MANY)
            start_s = time.process_time()
            logger.shutdown()
            assert logger.counters().connections == MANY
            if number:
                seconds.append(time.process_time() - start_s)
        for lane in lanes:
            meter.release_lane(lane)
    assert sink.n_bytes > (1 + MANY_ROUNDS) * MANY * 80
    benchmark.pedantic(lambda: None, rounds=1, iterations=1)
    name = f"poll with 4 M connections, {n_routes} routes, the slower of {MANY_ROUNDS}"
    if n_lanes > 1:
        name = (
            f"poll with 4 M connections, each on 2 of {n_lanes} lanes, the slower of {MANY_ROUNDS}"
        )
    Row(name, max(seconds), "CPU s", budget=Budget("<=", 1, "CPU s")).save(benchmark)


def test_poll_memory(benchmark: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """The most memory that a poll takes beyond what the process had: rows, order and text."""
    # In a process of its own: in this one, earlier polls have left memory that would be reused.
    code = f"import bench.bench_poll as b; print(b.poll(b.Path({str(tmp_path / 'x')!r}), None)[1])"

    def measure() -> int:
        return int(subprocess.check_output([sys.executable, "-c", code], cwd=BENCH.parent))

    taken = benchmark.pedantic(measure, rounds=1, iterations=1)
    assert taken > 0
    Row("memory of a poll with 100 000 connections, peak", taken / 2**20, "MiB").save(benchmark)
