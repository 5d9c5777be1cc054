"""What crosses a device with virtio headers, right and corrupt, against a twin of every segment."""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlog
from tests.oracle.large import HEADERS, made, text
from tests.oracle.packets import corpus
from tests.support.decoder import Count, Reason
from tests.support.meter_twin import MeterTwin
from tests.support.offloads import (
    ECN,
    NEEDS_CSUM,
    NONE,
    TCPV4,
    TCPV6,
    UDP_L4,
    UFO,
    Super,
    Vnet,
    super_of,
)
from tests.support.wire_twin import on_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = frozenset({"checksum", "tso", "uso"})
BATCH = netlog.PacketBatch(64)
MOST_SEGMENTS = 40
PAYLOADS = [0, 1, 2, 7, 64, 999, 1000, 1001, 3000, 30001, 64000]
NUMBERS = st.one_of(st.sampled_from([0, 1, 6, 8, 16, 20, 40, 60, 65535]), st.integers(0, 65535))
FIELDS = {
    "flags": st.sampled_from([0, NEEDS_CSUM, 2, 3, 255]),
    "gso_type": st.sampled_from([NONE, TCPV4, TCPV6, UDP_L4, UFO, TCPV4 | ECN, TCPV6 | ECN, 255]),
    "hdr_len": NUMBERS,
    "gso_size": st.one_of(st.just(0), NUMBERS),
    "csum_start": NUMBERS,
    "csum_offset": NUMBERS,
}


@functools.cache
def whole_of(kind: str, payload_bytes: int) -> Super:
    """Return a super-packet as the kernel makes it, to be cut into pieces of 1000 bytes."""
    return super_of(made(kind, text(payload_bytes)), 1000)


@st.composite
def supers(draw: st.DrawFn) -> Super:
    """Draw what a kernel hands over: as it should be, or with something changed."""
    payload_bytes = draw(st.sampled_from(PAYLOADS))
    whole = whole_of(draw(st.sampled_from(sorted(HEADERS))), payload_bytes)
    least = payload_bytes // MOST_SEGMENTS + 1
    size = draw(st.one_of(st.integers(least, least + 20), st.integers(least, 65535)))
    vnet, packet = dataclasses.replace(whole.vnet, gso_size=size), whole.packet
    how = draw(st.sampled_from(["right", "header", "header", "bytes", "length", "other"]))
    if draw(st.booleans()):
        vnet = dataclasses.replace(vnet, gso_type=NONE, gso_size=0)
    if how == "header":
        name = draw(st.sampled_from(sorted(FIELDS)))
        value = draw(FIELDS[name])
        if name != "gso_size" or not value or value >= least:
            vnet = dataclasses.replace(vnet, **{name: value})
    elif how == "bytes":
        changed = bytearray(packet)
        for at in draw(st.lists(st.integers(0, min(79, len(packet) - 1)), min_size=1, max_size=3)):
            changed[at] = draw(st.integers(0, 255))
        packet = bytes(changed)
    elif how == "length":
        cut = draw(st.integers(1, len(packet) - 1))
        packet = draw(st.sampled_from([packet[:cut], packet[:-1], packet + b"x"]))
    elif how == "other":
        packet = draw(st.sampled_from(sorted(corpus().values()))) or b"\0"
        vnet = Vnet(**{name: draw(field) for name, field in FIELDS.items()})
        if vnet.gso_size < len(packet) // MOST_SEGMENTS + 1:
            vnet = dataclasses.replace(vnet, gso_size=0)
    # The type of a segment beyond what a socket pair carries stays out of this.
    return Super(vnet, packet[:65535])


@pytest.fixture(name="device", scope="module")
def _device() -> Iterator[tuple[netlog.TunDevice, socket.socket]]:
    """A device with offloads, and the kernel's end of it."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_blocking(one.fileno(), False)
    with (
        netlog.Meter(max_flows=256) as meter,
        other,
        netlog.TunDevice(one.detach(), "pipe0", meter, ALL) as tun,
    ):
        yield tun, other


def crossed(tun: netlog.TunDevice) -> list[bytes]:
    """Return all that there is to read."""
    got: list[bytes] = []
    while tun.read_batch(BATCH):
        got += [bytes(BATCH.packet(slot)) for slot in range(BATCH.count)]
    return got


@settings(max_examples=100)
@given(st.lists(supers(), min_size=1, max_size=5))
def test_reads_and_counts(
    device: tuple[netlog.TunDevice, socket.socket], given_: list[Super]
) -> None:
    """What is read is the twin's packets, byte by byte; what is counted is each of them."""
    tun, kernel = device
    twin = MeterTwin()
    for whole in given_:
        kernel.send(bytes(whole))
        expected = on_wire(whole)
        assert crossed(tun) == (expected or [])
        if expected is None:
            twin.add(Count(Reason.MALFORMED, 1, len(whole.packet)), rx=False)
        for packet in expected or []:
            twin.packet(packet)
    twin.check(tun.meter.extract(), tun.meter.unattributed)
