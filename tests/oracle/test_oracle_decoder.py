"""The decoder against its twin: every kind of packet, cut at every length, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlog
from tests.oracle.packets import chain, corpus
from tests.support.meter_twin import MeterTwin

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = corpus()
SEEDS = list(CORPUS.values())


@pytest.fixture(scope="module")
def meter() -> Iterator[netlog.Meter]:
    """Make a meter that is emptied by each comparison."""
    with netlog.Meter(max_flows=4096) as meter:
        yield meter


def count_one_by_one(meter: netlog.Meter, packets: list[bytes]) -> None:
    """Compare after each packet, once in each direction."""
    twin = MeterTwin()
    for packet in packets:
        meter.update_tx(packet)
        twin.packet(packet)
        twin.check(meter.extract(), meter.unattributed)
        meter.update_rx(packet)
        twin.packet(packet, rx=True)
        twin.check(meter.extract(), meter.unattributed)


def count_in_batch(meter: netlog.Meter, packets: list[bytes], rx: list[bool]) -> None:
    """Compare after all packets have been counted by one call."""
    twin = MeterTwin()
    lengths = np.array([len(packet) for packet in packets], dtype=np.uint32)
    offsets = (np.cumsum(lengths) - lengths).astype(np.uint64)
    meter.update_batch(b"".join(packets), offsets, lengths, rx=np.array(rx, dtype=bool))
    for packet, is_rx in zip(packets, rx, strict=True):
        twin.packet(packet, rx=is_rx)
    twin.check(meter.extract(), meter.unattributed)


@pytest.mark.parametrize("name", CORPUS)
def test_every_kind_cut_at_every_length(meter: netlog.Meter, name: str) -> None:
    """A packet of any kind, whole or cut anywhere, counts as the twin says, tx and rx."""
    packet = CORPUS[name]
    count_one_by_one(meter, [packet[:length] for length in range(len(packet) + 1)])


def test_whole_corpus_in_one_batch(meter: netlog.Meter) -> None:
    """A batch of all packets cut at all lengths counts as the twin says, however it is mixed."""
    cut = [packet[:length] for packet in SEEDS for length in range(len(packet) + 1)]
    order = np.random.default_rng(2).permutation(len(cut) * 2)
    mixed = [cut[index // 2] for index in order]
    count_in_batch(meter, mixed, [bool(index % 2) for index in order])


@pytest.mark.parametrize("proto", range(256))
def test_every_protocol_number(meter: netlog.Meter, proto: int) -> None:
    """Each of the 256 protocol numbers, in IPv4 and as IPv6's next header, counts as it is."""
    four = bytearray(CORPUS["ipv4-udp"])
    four[9] = proto
    six = bytearray(CORPUS["ipv6-udp"])
    six[6] = proto
    behind = chain([60], proto, bytes(24))
    later = bytearray(CORPUS["ipv6-fragment-last"])
    later[40] = proto
    count_one_by_one(meter, [bytes(four), bytes(six), behind, bytes(later)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=120), st.booleans()), max_size=40))
def test_random_bytes(meter: netlog.Meter, packets: list[tuple[bytes, bool]]) -> None:
    """No bytes confuse the decoder."""
    count_in_batch(meter, [packet for packet, _ in packets], [rx for _, rx in packets])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take a real packet, change a few bytes of its headers, cut it or lengthen it."""
    packet = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        if packet:
            packet[draw(st.integers(0, min(len(packet), 64) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        packet = packet[: draw(st.integers(0, len(packet)))]
    return bytes(packet) + draw(st.binary(max_size=9))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(mutated(), st.booleans()), max_size=40))
def test_mutated_packets(meter: netlog.Meter, packets: list[tuple[bytes, bool]]) -> None:
    """A damaged packet counts as the twin says."""
    count_in_batch(meter, [packet for packet, _ in packets], [rx for _, rx in packets])


@st.composite
def chains(draw: st.DrawFn) -> bytes:
    """Make an IPv6 chain of real extension headers of many sizes, whole or cut."""
    walked = st.sampled_from([0, 43, 44, 51, 60, 135, 139, 140])
    headers = draw(st.lists(walked, max_size=10))
    upper = draw(st.sampled_from([6, 17, 33, 132, 136, 58, 59, 50, 1, 99, 255]))
    packet = bytearray(
        chain(headers, upper, draw(st.binary(max_size=8)), units=draw(st.integers(0, 4)))
    )
    if draw(st.booleans()):
        at = draw(st.integers(40, len(packet)))
        packet[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(packet[: draw(st.integers(40, len(packet)))] if draw(st.booleans()) else packet)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(chains(), st.booleans()), min_size=1, max_size=20))
def test_random_chains(meter: netlog.Meter, packets: list[tuple[bytes, bool]]) -> None:
    """Extension headers in any order, number and size are walked as the twin walks them."""
    count_in_batch(meter, [packet for packet, _ in packets], [rx for _, rx in packets])
