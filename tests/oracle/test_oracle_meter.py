"""The meter against its twin: random sequences of calls, wrong ones among them."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import netlog
from netlog._native import ffi, lib
from tests.oracle.packets import corpus
from tests.support.decoder import count_datagram
from tests.support.meter_twin import NOTHING, Counts, MeterTwin

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = list(corpus().values())
UDP_TO_PORT = bytes.fromhex("4500001c0000000040110000 6400000164000002 0007")
packets = st.one_of(
    st.integers(0, len(CORPUS) - 1).map(lambda number: CORPUS[number]),
    st.binary(max_size=50),
    # Few connections, so that most of them are met again.
    st.integers(0, 12).map(lambda port: UDP_TO_PORT + bytes([0, port, 0, 8, 0, 0])),
)
WRONG_SPANS: list[tuple[Any, Any, type[Exception]]] = [
    ([0], [9], ValueError),
    ([8], [1], ValueError),
    ([-1], [1], ValueError),
    ([0], [-1], ValueError),
    ([2**63], [2**63], ValueError),
    ([2**64 - 1], [2], ValueError),
    ([0, 0], [1], ValueError),
    ([], [1], ValueError),
    ([[0]], [[1]], ValueError),
    (0, 1, ValueError),
    ([0.0], [1], TypeError),
    ([0], [1.5], TypeError),
    ([True], [1], TypeError),
    (["0"], [1], TypeError),
    ([0], [2**32], ValueError),
    ([0, 0, 0, 0, 5], [8, 8, 8, 8, 4], ValueError),
]
WRONG_RX: list[tuple[Any, type[Exception]]] = [
    (1, TypeError),
    (None, TypeError),
    ("rx", TypeError),
    ([1], TypeError),
    (np.array([1], np.uint8), TypeError),
    ([True, False], ValueError),
    ([[True]], ValueError),
    (np.zeros(0, bool), ValueError),
]
WRONG_PACKETS: list[tuple[Any, type[Exception]]] = [
    ("text", TypeError),
    (None, TypeError),
    (5, TypeError),
    ([1, 2], TypeError),
    (memoryview(b"abcdef")[::2], ValueError),
]


class MeterMachine(RuleBasedStateMachine):
    """Any sequence of calls gives what the twin says, in every extraction."""

    def __init__(self) -> None:
        """Begin without a meter; `open` makes it."""
        super().__init__()
        self.meter: netlog.Meter | None = None
        self.tun = self.sock = MeterTwin()
        self.last: Counts = NOTHING
        self.snapshot_taken = False

    @initialize(max_flows=st.sampled_from([1, 2, 5, 8, 9, 30, 4096]), endpoints=st.integers(1, 9))
    def open(self, max_flows: int, endpoints: int) -> None:
        """Open meters of few and of many flows."""
        self.meter = netlog.Meter(max_flows, max_endpoints=endpoints, max_lanes=2)
        self.tun, self.sock = MeterTwin(max_flows), MeterTwin(endpoints)

    def teardown(self) -> None:
        """Close what is open."""
        if self.meter is not None:
            self.meter.close()

    @property
    def opened(self) -> netlog.Meter:
        """The meter, which `open` made."""
        assert self.meter is not None
        return self.meter

    @rule(packet=packets, rx=st.booleans(), kind=st.sampled_from([bytes, bytearray, memoryview]))
    def update_one(self, packet: bytes, rx: bool, kind: Callable[[bytes], Any]) -> None:  # noqa: FBT001
        """Count one packet."""
        (self.opened.update_rx if rx else self.opened.update_tx)(kind(packet))
        self.tun.packet(packet, rx=rx)

    @rule(
        batch=st.lists(st.tuples(packets, st.booleans()), max_size=70),
        one_way=st.sampled_from([None, False, True]),
        gap=st.integers(0, 3),
        dtype=st.sampled_from([np.uint64, np.int64, np.uint32, np.int32, np.uint16, object]),
        data_kind=st.sampled_from(["bytes", "bytearray", "array"]),
    )
    def update_batch(
        self,
        batch: list[tuple[bytes, bool]],
        one_way: bool | None,  # noqa: FBT001
        gap: int,
        dtype: type,
        data_kind: str,
    ) -> None:
        """Count a batch, with arrays of any integer type, or lists, and gaps between packets."""
        data = b"\xee" * gap + b"".join(packet + b"\xee" * gap for packet, _ in batch)
        lengths = [len(packet) for packet, _ in batch]
        offsets = [gap + sum(lengths[:i]) + gap * i for i in range(len(batch))]
        kinds: dict[str, Any] = {"bytes": data, "bytearray": bytearray(data)}
        kinds["array"] = np.frombuffer(data, np.uint8)
        spans: list[Any] = [offsets, lengths]
        if dtype is not object:
            spans = [np.array(numbers, dtype) for numbers in spans]
        rx = np.array([way for _, way in batch], bool) if one_way is None else one_way
        self.opened.update_batch(kinds[data_kind], *spans, rx=rx)
        for packet, way in batch:
            self.tun.packet(packet, rx=way if one_way is None else one_way)

    @rule(
        rows=st.lists(
            st.tuples(st.integers(1, 6), st.integers(0, 4000), st.integers(0, 9), st.booleans()),
            max_size=20,
        )
    )
    def update_datagrams(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Count datagrams of few endpoints."""
        datagrams = np.zeros(len(rows), netlog.DATAGRAM_DTYPE)
        for item, (host, length, gso_size, rx) in zip(datagrams, rows, strict=True):
            address = IPv4Address(host)
            item["address"] = np.void(bytes(10) + b"\xff\xff" + address.packed)
            item["version"], item["port"], item["rx"] = 4, 7, rx
            item["length"], item["gso_size"] = length, gso_size
            self.sock.add(count_datagram(address, 7, length, gso_size=gso_size), rx=rx)
        self.opened.update_datagrams(datagrams)

    @rule(wrong=st.sampled_from(WRONG_SPANS))
    def update_with_wrong_span(self, wrong: tuple[Any, Any, type[Exception]]) -> None:
        """A batch that is wrong anywhere raises, and counts nothing of it."""
        offsets, lengths, error = wrong
        with pytest.raises(error):
            self.opened.update_batch(bytes(8), offsets, lengths)

    @rule(wrong=st.sampled_from(WRONG_RX))
    def update_with_wrong_directions(self, wrong: tuple[Any, type[Exception]]) -> None:
        """Directions of the wrong type or shape raise, and count nothing."""
        rx, error = wrong
        with pytest.raises(error):
            self.opened.update_batch(CORPUS[-1], [0], [len(CORPUS[-1])], rx=rx)

    @rule(wrong=st.sampled_from(WRONG_PACKETS), call=st.integers(0, 2))
    def update_with_wrong_packet(self, wrong: tuple[Any, type[Exception]], call: int) -> None:
        """What is not bytes-like raises, and counts nothing."""
        packet, error = wrong
        meter = self.opened
        calls: list[Callable[[Any], None]] = [
            meter.update_tx,
            meter.update_rx,
            lambda data: meter.update_batch(data, [0], [1]),
        ]
        with pytest.raises(error):
            calls[call](packet)

    @precondition(lambda self: not self.snapshot_taken)
    @rule()
    def extract(self) -> None:
        """Extract: every connection once, all sums exact, and then nothing is left."""
        self.last = self.tun.check(self.opened.extract(), self.opened.unattributed)
        # What the socket side had in that epoch went with it.
        self.sock.clear()

    @precondition(lambda self: not self.snapshot_taken)
    @rule()
    def snapshot(self) -> None:
        """Take a snapshot of both observation points."""
        snapshot = self.opened.snapshot()
        for twin, rows, unattributed, with_row in (
            (self.tun, snapshot.tun, snapshot.tun_unattributed, snapshot.tun_rows()),
            (self.sock, snapshot.sock, snapshot.sock_unattributed, snapshot.sock_rows()),
        ):
            total = twin.check(rows, unattributed)
            assert len(with_row) == len(rows) + (total != NOTHING)
            if total != NOTHING:
                self._check_row(with_row[-1], total)
        assert snapshot.late_lanes == 0
        self.snapshot_taken = True

    @precondition(lambda self: self.snapshot_taken)
    @rule()
    def poll_before_clear(self) -> None:
        """No further poll before the snapshot is cleared; it changes nothing."""
        with pytest.raises(netlog.StateError):
            self.opened.snapshot()
        with pytest.raises(netlog.StateError):
            self.opened.extract()

    @rule()
    def clear(self) -> None:
        """Clear the snapshot; without one nothing happens."""
        self.opened.clear()
        self.snapshot_taken = False

    @invariant()
    def unattributed_is_the_last_extraction(self) -> None:
        """`unattributed` changes with an extraction and with nothing else."""
        if self.meter is None:
            return
        got = self.meter.unattributed
        assert (got.tx_packets, got.tx_bytes, got.rx_packets, got.rx_bytes) == self.last

    @staticmethod
    def _check_row(row: np.void, expected: Counts) -> None:
        names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
        assert tuple(int(row[name]) for name in names) == expected
        assert row["version"] == row["proto"] == row["src_port"] == row["dst_port"] == 0
        assert row["src"].tobytes() == row["dst"].tobytes() == bytes(16)
        assert int(row["flags"]) == lib.NETLOG_NO_SRC | lib.NETLOG_NO_DST


MeterMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestMeterMachine = MeterMachine.TestCase


@pytest.mark.parametrize(
    "call",
    [
        lambda meter: meter.update_tx(b""),
        lambda meter: meter.update_rx(b"\x45"),
        lambda meter: meter.update_batch(b"", [], []),
        lambda meter: meter.update_batch(b"x", [0], [1], rx=[True]),
        lambda meter: meter.update_datagrams(np.zeros(1, netlog.DATAGRAM_DTYPE)[:0]),
        lambda meter: meter.extract(),
        lambda meter: meter.snapshot(),
        lambda meter: meter.clear(),
        lambda meter: meter.wait(0.0),
        lambda meter: meter.acquire_lane(),
        lambda meter: meter.handle,
        lambda meter: meter.region_bytes,
    ],
)
def test_closed_meter(call: Callable[[netlog.Meter], object]) -> None:
    """Every call on a closed meter is a StateError; close and wake are not."""
    meter = netlog.Meter(10)
    meter.close()
    with pytest.raises(netlog.StateError, match="closed"):
        call(meter)
    meter.wake()
    meter.close()
    assert meter.closed


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_flows": 0}, ValueError),
        ({"max_flows": -1}, ValueError),
        ({"max_flows": 2**26 + 1}, ValueError),
        ({"max_flows": 2**64}, ValueError),
        ({"max_endpoints": 0}, ValueError),
        ({"max_endpoints": 2**26 + 1}, ValueError),
        ({"max_lanes": 0}, ValueError),
        ({"max_lanes": 257}, ValueError),
        ({"max_flows": "many"}, TypeError),
        ({"max_flows": 1.5}, TypeError),
    ],
)
def test_wrong_options(arguments: dict[str, Any], error: type[Exception]) -> None:
    """An option out of range is named in the error."""
    with pytest.raises(error, match=next(iter(arguments)) if error is ValueError else None):
        netlog.Meter(**arguments)


def test_no_lane_is_left() -> None:
    """A meter whose lanes are all taken says so, and recovers when one is handed back."""
    with netlog.Meter(10, max_lanes=1) as meter:
        lane = meter.acquire_lane()
        with pytest.raises(netlog.StateError, match="lanes"):
            meter.update_tx(b"")
        with pytest.raises(netlog.StateError, match="devices and relays"):
            meter.close()
        meter.release_lane(lane)
        meter.update_tx(b"")
        meter.extract()
        assert meter.unattributed.packets == 1


def test_a_late_writer_is_told_and_loses_nothing() -> None:
    """A writer that stays in its batch over a snapshot comes with a later one."""
    with netlog.Meter(10) as meter:
        lane = meter.acquire_lane()
        packet = ffi.new("struct netlog_packet *")
        data = ffi.new("uint8_t[]", CORPUS[-1])
        packet.data, packet.length = data, len(CORPUS[-1])
        lib.netlog_lane_enter(lane)
        lib.netlog_lane_count_packets(lane, packet, 1)
        late = meter.snapshot(timeout_s=0.0)
        meter.clear()
        assert late.late_lanes == 1
        assert late.tun.size == 0
        lib.netlog_lane_count_packets(lane, packet, 1)
        lib.netlog_lane_leave(lane)
        found = [meter.extract() for _ in range(2)]
        assert sum(int(rows["tx_packets"].sum()) for rows in found) == 2
        meter.release_lane(lane)


def test_a_drain_without_memory_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no memory for the rows, they are still there the next time."""
    with netlog.Meter(10) as meter:
        meter.update_tx(CORPUS[-1])
        with monkeypatch.context() as patch:

            def refuse(*_arguments: object) -> None:
                raise MemoryError

            patch.setattr(np, "empty", refuse)
            with pytest.raises(MemoryError):
                meter.extract()
            with pytest.raises(MemoryError):
                meter.snapshot()
        meter.update_tx(CORPUS[-1])
        assert [int(meter.extract()["tx_packets"].sum()) for _ in range(3)] == [1, 1, 0]


def test_layout_is_the_one_of_the_headers() -> None:
    """The dtypes have the offsets of the C structures that they stand for."""
    names = {"src": 0, "dst": 16, "src_port": 32, "dst_port": 34, "version": 36, "proto": 37}
    names |= {"flags": 38, "reserved": 39, "tx_packets": 40, "tx_bytes": 48}
    names |= {"rx_packets": 56, "rx_bytes": 64}
    fields = netlog.FLOW_DTYPE.fields
    assert fields is not None
    assert {name: entry[1] for name, entry in fields.items()} == names
    assert netlog.FLOW_DTYPE.itemsize == ffi.sizeof("struct netlog_flow") == 72
    assert netlog.DATAGRAM_DTYPE.itemsize == ffi.sizeof("struct netlog_datagram")
