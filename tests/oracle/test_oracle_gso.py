"""Super-packets against the twin, which really segments them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlog
from netlog._native import ffi, lib
from tests.oracle.packets import corpus, super_packets
from tests.support.decoder import count_datagram
from tests.support.meter_twin import MeterTwin

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = corpus()
KINDS = list(super_packets(0))


@pytest.fixture(scope="module")
def meter() -> Iterator[netlog.Meter]:
    """Make a meter that is emptied by each comparison."""
    with netlog.Meter(max_flows=256) as meter:
        yield meter


def compare(meter: netlog.Meter, packets: list[tuple[bytes, int, bool]]) -> None:
    """Count (packet, gso_size, rx) through the C call that devices use, and ask the twin."""
    twin = MeterTwin()
    described = ffi.new("struct netlog_packet[]", max(1, len(packets)))
    buffers = [ffi.new("uint8_t[]", data) for data, _, _ in packets]
    for item, buffer, (data, gso_size, rx) in zip(described, buffers, packets, strict=False):
        item.data, item.length, item.gso_size, item.direction = buffer, len(data), gso_size, rx
        twin.packet(data, rx=rx, gso_size=gso_size)
    lane = meter.acquire_lane()
    try:
        lib.netlog_lane_enter(lane)
        lib.netlog_lane_count_packets(lane, described, len(packets))
        lib.netlog_lane_leave(lane)
    finally:
        meter.release_lane(lane)
    twin.check(meter.extract(), meter.unattributed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload_bytes", [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 40000])
def test_edges_of_a_segment(meter: netlog.Meter, kind: str, payload_bytes: int) -> None:
    """A payload of just under, just or just over so many segments counts as if segmented."""
    packet = super_packets(payload_bytes)[kind]
    compare(meter, [(packet, 1000, False), (packet, 1000, True), (packet, 0, False)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gso_size", [1, 2, 7, 65535])
def test_extreme_segment_sizes(meter: netlog.Meter, kind: str, gso_size: int) -> None:
    """Segments of one byte, and ones larger than any packet, count as if segmented."""
    compare(meter, [(super_packets(20000)[kind], gso_size, False)])


@pytest.mark.parametrize("name", CORPUS)
def test_every_kind_with_a_segment_size_cut_at_every_length(meter: netlog.Meter, name: str) -> None:
    """A gso_size on any packet, whole or cut anywhere, changes what it stands for and no more."""
    packet = CORPUS[name]
    for length in range(len(packet) + 1):
        compare(meter, [(packet[:length], 5, False)])


@pytest.mark.parametrize("kind", ["tcp4-zero", "tcp6-zero", "tcp6-jumbo"])
@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_big_tcp(meter: netlog.Meter, kind: str, more: int) -> None:
    """A super-packet that is longer than a length field can say counts as if segmented."""
    packet = super_packets(40_000)[kind] + bytes(26_000 + more)
    if kind == "tcp6-jumbo":
        packet = packet[:44] + (len(packet) - 40).to_bytes(4, "big") + packet[48:]
    compare(meter, [(packet, 1448, False), (packet, 1448, True), (packet, 0, False)])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 9000),
            st.integers(0, 3000),
            st.booleans(),
            st.integers(0, 100),
        ),
        max_size=10,
    )
)
def test_random_super_packets(
    meter: netlog.Meter, rows: list[tuple[str, int, int, bool, int]]
) -> None:
    """Super-packets of any kind and size, whole or cut, count as if segmented."""
    packets = []
    for kind, payload_bytes, gso_size, rx, cut in rows:
        packet = super_packets(payload_bytes)[kind]
        packets.append((packet[: len(packet) - cut if cut > 90 else None], gso_size, rx))
    compare(meter, packets)


addresses = st.one_of(
    st.integers(0, 3).map(lambda n: IPv4Address(0xC0000200 + n)),
    st.integers(0, 3).map(lambda n: IPv6Address((0x20010DB8 << 96) + n)),
    st.sampled_from([ip_address("::ffff:192.0.2.1"), ip_address("::")]),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            addresses,
            st.integers(0, 65535),
            st.integers(0, 65535),
            st.integers(0, 65535),
            st.booleans(),
        ),
        max_size=50,
    )
)
def test_random_datagrams(
    meter: netlog.Meter, rows: list[tuple[IPv4Address | IPv6Address, int, int, int, bool]]
) -> None:
    """Datagrams count by remote endpoint, as many as UDP_SEGMENT would send."""
    twin = MeterTwin()
    datagrams = np.zeros(len(rows), netlog.DATAGRAM_DTYPE)
    for item, (address, port, length, gso_size, rx) in zip(datagrams, rows, strict=True):
        mapped = bytes(10) + b"\xff\xff" if address.version == 4 else b""
        item["address"] = np.void(mapped + address.packed)
        item["port"], item["version"], item["rx"] = port, address.version, rx
        item["length"], item["gso_size"] = length, gso_size
        twin.add(count_datagram(address, port, length, gso_size=gso_size), rx=rx)
    meter.update_datagrams(datagrams)
    snapshot = meter.snapshot()
    meter.clear()
    twin.check(snapshot.sock, snapshot.sock_unattributed)
    assert snapshot.tun.size == 0
