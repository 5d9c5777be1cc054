"""Counting from Python: a packet costs at most 2.5 empty calls, a batch 12 beside the core.

An empty call is that of a Python function with one argument. The dict is what one would write in
Python instead: keyed by protocol, addresses and ports, as one slice of the packet's bytes.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netlog
from bench.harness import Budget, Turns
from netlog._native import ffi, lib

PACKET = bytes.fromhex("4500057800004000400600006440000164400002d43101bb") + bytes(1376)
CALLS = 20_000
ROUNDS = 15


class DictMeter:
    """Counts in a dict."""

    def __init__(self) -> None:
        self.counts: dict[bytes, list[int]] = {}

    def update_tx(self, packet: bytes) -> None:
        """Count one packet."""
        key = packet[9:10] + packet[12:24]
        counts = self.counts.get(key)
        if counts is None:
            self.counts[key] = [1, len(packet)]
        else:
            counts[0] += 1
            counts[1] += len(packet)


def empty(_: object) -> None:
    """Do nothing."""


def timed(call: Callable[..., Any], *arguments: Any, calls: int = CALLS) -> Callable[[], float]:  # noqa: ANN401
    """Return a callable that calls many times and returns CPU ns a call, the loop's own taken off.

    The loop is measured each time: it is a part of what remains.
    """
    repeat = range(calls)

    def run() -> float:
        start = time.thread_time_ns()
        for _ in repeat:
            pass
        looped = time.thread_time_ns()
        for _ in repeat:
            call(*arguments)
        return float(time.thread_time_ns() - looped - (looped - start)) / calls

    return run


@pytest.mark.parametrize("method", ["update_tx", "update_rx"])
def test_one_packet(benchmark: Any, method: str) -> None:  # noqa: ANN401
    """One packet a call."""
    with netlog.Meter() as meter:
        Turns(benchmark, timed(getattr(meter, method), PACKET), timed(empty, PACKET)).row(
            f"calls, Meter.{method}", "empty call", Budget("<=", 2.5), rounds=ROUNDS
        )


def test_one_packet_beside_a_dict(benchmark: Any) -> None:  # noqa: ANN401
    """The same beside a dict."""
    with netlog.Meter() as meter:
        Turns(benchmark, timed(meter.update_tx, PACKET), timed(DictMeter().update_tx, PACKET)).row(
            "calls, Meter.update_tx", "dict", Budget(">=", 3.0), inverse=True, rounds=ROUNDS
        )


@pytest.mark.parametrize("number", [1, 8, 64, 256, 4096])
def test_batch(benchmark: Any, number: int) -> None:  # noqa: ANN401
    """A batch in one buffer, without the core's own time: the same call in C, by cffi, in turns."""
    data = np.frombuffer(PACKET * number, np.uint8)
    offsets = np.arange(number, dtype=np.uint64) * len(PACKET)
    lengths = np.full(number, len(PACKET), np.uint64)
    calls = max(50, CALLS // (4 + number // 4))
    with netlog.Meter() as meter:
        lane = meter.acquire_lane()
        span = ffi.new("struct netlog_span *", {"n": number, "bytes": data.size})
        span.data = ffi.from_buffer("uint8_t[]", data)
        span.offsets.data = ffi.from_buffer("uint64_t[]", offsets)
        span.lengths.data = ffi.from_buffer("uint64_t[]", lengths)
        core = timed(lib.netlog_lane_count_span, lane, span, calls=calls)
        call = timed(meter.update_batch, data, offsets, lengths, calls=calls)
        bare = timed(empty, None)

        def beyond() -> float:
            return call() - core()

        Turns(benchmark, beyond, bare).row(
            f"calls, Meter.update_batch of {number} beyond the core",
            "empty call",
            Budget("<=", 12),
            rounds=ROUNDS,
        )
        meter.release_lane(lane)


def test_packets(benchmark: Any) -> None:  # noqa: ANN401
    """A sequence of bytes objects, the core's own time included."""
    with netlog.Meter() as meter:
        call = timed(meter.update_packets, [PACKET] * 64, calls=CALLS // 16)
        Turns(benchmark, lambda: call() / 64, timed(empty, PACKET)).row(
            "calls, Meter.update_packets of 64, a packet",
            "empty call",
            Budget("<=", 0.7),
            rounds=ROUNDS,
        )
