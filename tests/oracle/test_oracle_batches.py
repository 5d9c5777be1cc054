"""Batches beyond every cache, which are counted in passes, against sums that numpy makes."""

from __future__ import annotations

import numpy as np
import pytest

import netlog

SEED = 20221001


def build(
    random: np.random.Generator, flows: int, packets: int, six_share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make UDP packets: data, offsets, lengths, and each packet's flow and direction."""
    flow = random.integers(0, flows, size=packets)
    rx = random.integers(0, 2, size=packets).astype(bool)
    six = (flow % 1000) < six_share * 1000
    lengths = np.where(six, 48, 28) + flow % 13
    offsets = np.cumsum(lengths) - lengths
    data = np.zeros(int(lengths.sum()), np.uint8)

    def put(mask: np.ndarray, at: int, values: np.ndarray | int, size: int) -> None:
        numbers = np.broadcast_to(np.asarray(values), flow.shape)[mask]
        for byte in range(size):
            data[offsets[mask] + at + byte] = numbers >> (8 * (size - 1 - byte)) & 0xFF

    near, far = np.full(packets, 0x64400001), 0xC6120000 + flow // 60000
    src, dst = np.where(rx, far, near), np.where(rx, near, far)
    ours, theirs = np.full(packets, 7), flow % 60000
    ports = np.where(rx, theirs, ours), np.where(rx, ours, theirs)

    put(~six, 0, 0x45, 1)
    put(~six, 2, lengths, 2)
    put(~six, 9, 17, 1)
    put(~six, 12, src, 4)
    put(~six, 16, dst, 4)
    put(~six, 20, ports[0], 2)
    put(~six, 22, ports[1], 2)
    put(six, 0, 0x60, 1)
    put(six, 4, lengths - 40, 2)
    put(six, 6, 17, 1)
    for at in (8, 24):
        put(six, at, 0xFD, 1)
    put(six, 20, src, 4)
    put(six, 36, dst, 4)
    put(six, 40, ports[0], 2)
    put(six, 42, ports[1], 2)

    return data, offsets, lengths, flow, rx


def sums(rows: np.ndarray, flows: int) -> np.ndarray:
    """Lay rows out by flow: shape (flows, 4)."""
    addresses = np.frombuffer(rows["dst"].tobytes(), ">u4").reshape(-1, 4)[:, 3]
    number = (addresses.astype(np.int64) - 0xC6120000) * 60000 + rows["dst_port"]
    assert len(np.unique(number)) == len(rows)
    assert (rows["src_port"] == 7).all()
    table = np.zeros((flows, 4), np.uint64)
    for column, name in enumerate(("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")):
        table[number, column] = rows[name]
    return table


@pytest.mark.parametrize("six_share", [0.0, 1.0, 0.3], ids=["IPv4", "IPv6", "mixed"])
@pytest.mark.parametrize("flows", [100, 9000, 200_000])
def test_large_batches(flows: int, six_share: float) -> None:
    """Half a million packets of up to 200 000 connections count exactly, epoch after epoch."""
    packets = 500_000
    random = np.random.default_rng([SEED, flows, int(six_share * 10)])
    data, offsets, lengths, flow, rx = build(random, flows, packets, six_share)
    expected = np.zeros((flows, 4), np.uint64)
    for way, column in ((False, 0), (True, 2)):
        picked = flow[rx == way]
        expected[:, column] = np.bincount(picked, minlength=flows)
        weights = lengths[rx == way].astype(np.float64)
        expected[:, column + 1] = np.bincount(picked, weights=weights, minlength=flows)
    with netlog.Meter(max_flows=flows) as meter:
        for _ in range(3):
            for part in np.array_split(np.arange(packets), 7):
                meter.update_batch(data, offsets[part], lengths[part], rx=rx[part])
            rows = meter.extract()
            assert np.array_equal(sums(rows, flows), expected)
            assert meter.unattributed.packets == 0


def test_flood_of_a_small_meter() -> None:
    """Of 300 000 connections a meter for 20 000 keeps as many, and tells of the rest exactly."""
    flows, packets, kept = 300_000, 600_000, 20_000
    random = np.random.default_rng(SEED)
    data, offsets, lengths, flow, rx = build(random, flows, packets, 0.5)
    with netlog.Meter(max_flows=kept) as meter:
        for _ in range(2):
            meter.update_batch(data, offsets, lengths, rx=rx)
            rows = meter.extract()
            table = sums(rows, flows)
            got = meter.unattributed
            assert len(rows) == kept
            assert got.by_reason["table_full"] == (
                got.tx_packets,
                got.tx_bytes,
                got.rx_packets,
                got.rx_bytes,
            )
            assert int(table[:, 0].sum()) + got.tx_packets == int((~rx).sum())
            assert int(table[:, 2].sum()) + got.rx_packets == int(rx.sum())
            assert int(table[:, 1].sum()) + got.tx_bytes == int(lengths[~rx].sum())
            assert int(table[:, 3].sum()) + got.rx_bytes == int(lengths[rx].sum())
            # Whoever got a place has all of its packets.
            found = np.flatnonzero(table.any(axis=1))
            counts = np.bincount(flow, minlength=flows)
            assert np.array_equal((table[:, 0] + table[:, 2])[found], counts[found])


def test_bulk_of_one_connection_between_others() -> None:
    """Runs of one connection, which skip the table's search, count as if they did not."""
    random = np.random.default_rng(SEED + 1)
    data, offsets, lengths, flow, rx = build(random, 30_000, 30_000, 0.5)
    order = np.repeat(random.permutation(30_000), random.integers(1, 40, size=30_000))
    with netlog.Meter(max_flows=30_000) as meter:
        meter.update_batch(data, offsets[order], lengths[order], rx=rx[order])
        table = sums(meter.extract(), 30_000)
    expected = np.bincount(flow[order], minlength=30_000)
    assert np.array_equal(table[:, 0] + table[:, 2], expected)
