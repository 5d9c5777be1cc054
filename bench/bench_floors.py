"""What a relay cannot avoid: its system calls and its copies, each beside counting.

A bare write(2) and read(2) of a TUN in a network namespace, beside `TunDevice` in batches of 64
with each packet counted. Copying a packet of 1 400 bytes from a ring that is not in the caches,
beside counting one. The floor of memory, random lines that are prefetched, is beside every row of
bench_count.py.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bench import SEED
from bench.bench_count import SIZES, timed
from bench.harness import Turns
from bench.live import ADDRESS, NAME, PEER, PORT, Live, datagrams, live_tun
from bench.native import lib
from bench.packets import Memory, Meter, Ring, counting
from netlog import PacketBatch

PACKETS = 4096
BATCH = 64
QUEUED = 256
COPIED_BYTES = 1400
COPIES = 100_000


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """The interface."""
    with live_tun() as tun:
        tun.namespace.ip(f"link set {NAME} txqueuelen {4 * QUEUED}")
        yield tun


@pytest.fixture(scope="module")
def ring() -> Iterator[Ring]:
    """A ring with one packet of each connection."""
    with Ring(PACKETS, slots=PACKETS) as made:
        datagrams(made)
        yield made


def test_write(benchmark: Any, live: Live, ring: Ring) -> None:  # noqa: ANN401
    """Write into the TUN, to a socket whose buffer is full."""
    size = int(lib.BENCH_SLOT_BYTES)
    batch = PacketBatch(PACKETS, size)  # counted 64 at a time
    for slot in range(PACKETS):
        batch.put(slot, bytes(ring.data[slot * size : (slot + 1) * size]))
    live.device.extract_statistics()

    def counted() -> float:
        begin = lib.bench_cpu_ns()
        live.device.write_batch(batch, PACKETS)
        return float((lib.bench_cpu_ns() - begin) / PACKETS)

    row = Turns(benchmark, counted, lambda: live.write(ring))
    row.row("write of a TUN, counted, in batches", "bare write(2)", rounds=21)
    assert len(live.device.extract_statistics()) == PACKETS


def test_read(benchmark: Any, live: Live) -> None:  # noqa: ANN401
    """Read what the kernel has queued from a sender in the namespace."""
    with live.namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    batch = PacketBatch(BATCH, 128)
    live.device.extract_statistics()

    def queue(_number: int) -> None:
        while live.device.read_batch(batch):
            continue
        for _ in range(QUEUED):
            sender.sendto(bytes(36), (PEER, PORT))

    def counted() -> float:
        begin, packets = lib.bench_cpu_ns(), 0
        while packets < QUEUED:
            packets += live.device.read_batch(batch)
        return float((lib.bench_cpu_ns() - begin) / QUEUED)

    def bare() -> float:
        spent = lib.bench_read_each(live.fd, QUEUED)
        assert spent > 0
        return float(spent / QUEUED)

    with sender:
        sender.bind((ADDRESS, 0))
        row = Turns(benchmark, counted, bare, queue)
        row.row("read of a TUN, counted, in batches", "bare read(2)", rounds=51)
    assert live.device.extract_statistics()["tx_packets"].sum() >= QUEUED


@pytest.mark.parametrize("size", ["64 k", "1 M"])
def test_copy(benchmark: Any, size: str) -> None:  # noqa: ANN401
    """Counting a packet, beside copying it once."""
    connections, copied_bytes = SIZES[size], COPIES * COPIED_BYTES
    with (
        Ring(connections) as ring,
        Meter(connections) as meter,
        Memory(copied_bytes) as source,
        Memory(copied_bytes) as copy,
    ):
        meter.warm(ring)

        def prepare(number: int) -> None:
            ring.fill_uniform(SEED + number)
            ring.chill()
            lib.bench_chill(source.address, copied_bytes)

        Turns(
            benchmark,
            timed(lib.bench_count, counting(ring, meter.lanes[0])),
            lambda: float(lib.bench_memcpy(copy.address, source.address, copied_bytes) / COPIES),
            prepare,
        ).row(f"count, {size}, IPv4", "copying 1 400 B", rounds=7)
