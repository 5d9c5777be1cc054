"""Cost of a poll for each connection that it finds, by number of connections."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bench_count import VERSIONS
from bench.bench_swap import drained_ns
from bench.curve_count import CONNECTIONS
from bench.harness import Row, Turns, curve
from bench.native import ffi, lib
from bench.packets import Memory, Meter, Ring
from netlog import FileSink, Logger, MeterDevice, RouterConfig
from netlog import Meter as PythonMeter

ROUNDS = 3


@pytest.mark.parametrize("size", CONNECTIONS)
def test_drain(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """Swap and drain, with two lanes merged."""
    connections = CONNECTIONS[size]
    curve(benchmark, "poll", connections, "swap and drain, 2 lanes", "copying")
    flow_bytes = ffi.sizeof("struct netlog_flow")
    with (
        Ring(connections) as ring,
        Meter(connections, 2) as meter,
        Memory(2 * connections * flow_bytes) as flows,
        Memory(connections * flow_bytes) as copy,
    ):
        meter.warm(ring)

        def drain() -> float:
            elapsed, n = drained_ns(meter, flows)
            meter.meet_all(ring)
            return elapsed / n

        def copied() -> float:
            return float(lib.bench_memcpy(copy.address, flows.address, copy.n_bytes) / connections)

        Turns(benchmark, drain, copied).row(f"swap and drain, {size}", "memcpy", rounds=ROUNDS)


@VERSIONS
@pytest.mark.parametrize("size", CONNECTIONS)
def test_poll(benchmark: Any, tmp_path: Path, size: str, version: int) -> None:  # noqa: ANN401
    """A logger's whole poll, at its shutdown, into a file: every connection in full."""
    connections = CONNECTIONS[size]
    curve(benchmark, "poll", connections, f"whole poll, IPv{version}", "")
    times: list[float] = []
    with Ring(connections, version) as ring, PythonMeter(connections, max_endpoints=1) as meter:
        data = np.frombuffer(ffi.buffer(ring.data, ring.n_bytes), np.uint8)
        starts = np.arange(ring.slots, dtype=np.uint64) * lib.BENCH_SLOT_BYTES

        def poll() -> None:
            sink, logger = FileSink(tmp_path / "poll.jsonl"), Logger()
            logger.startup(
                "n",
                tun=MeterDevice(meter),
                sink=sink,
                routes=RouterConfig(routes=["100.64.0.0/10", "fd7a:115c:a1e0::/48"]),
                poll_period_s=3600,
                exit_traffic="log",
            )
            for first in range(0, connections, ring.slots):
                n = min(ring.slots, connections - first)
                ring.fill(np.arange(first, first + n))
                meter.update_batch(data, starts[:n], np.full(n, lib.BENCH_SLOT_BYTES, np.uint64))
            begin_ns = time.process_time_ns()
            logger.shutdown()
            times.append((time.process_time_ns() - begin_ns) / connections)
            sink.close()
            assert (tmp_path / "poll.jsonl").stat().st_size > 50 * connections
            (tmp_path / "poll.jsonl").unlink()

        benchmark.pedantic(poll, rounds=ROUNDS, iterations=1)
    Row(f"whole poll, {size}, IPv{version}", sorted(times)[ROUNDS // 2], "ns").save(benchmark)
