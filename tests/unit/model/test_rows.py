"""netlog.model.rows: a period's rows some at a time, and the messages that are made of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netlog import FLOW_DTYPE, Logger, Message, Meter, MeterDevice, RouterConfig, StateError
from netlog.model.flows import FlowArray
from netlog.model.rows import SLICE_ROWS, Rows
from tests.support.batches import PACKET_BYTES, count, packets

MANY = 2 * SLICE_ROWS + 1000
ROUTES = RouterConfig(routes=["100.64.0.0/10"])


def gathered(rows: Rows) -> tuple[FlowArray, list[int]]:
    """All rows in one array, and how many came at a time."""
    parts = [part.copy() for part, _ in rows]
    return np.concatenate(parts), [len(part) for part in parts]


def unique(rows: FlowArray) -> int:
    """How many different connections there are."""
    return len(np.unique(rows[["src_port", "dst_port"]]))


def test_one_thread_s_rows_come_some_at_a_time() -> None:
    """All of them, each once, no more than a slice together, as often as is asked."""
    with Meter(2 * MANY) as meter:
        count(meter, packets(np.arange(MANY)))
        retired = meter.retire()
        for _ in range(2):
            rows, sizes = gathered(retired.tun)
            assert sizes == [SLICE_ROWS, SLICE_ROWS, 1000]
            assert unique(rows) == MANY
        assert retired.tun.counted().count == MANY
        assert retired.tun.counted().sums["tx_bytes"] == MANY * PACKET_BYTES
        assert gathered(retired.sock)[1] == [0]
        meter.clear()
        with pytest.raises(StateError, match="cleared"):
            gathered(retired.tun)


@pytest.mark.parametrize("apart", [0, 500, 70_000])
def test_what_two_threads_counted_of_a_connection_is_one_row(apart: int) -> None:
    """One has tx, the other rx; some connections only one of them has."""
    with Meter(2 * MANY) as meter:
        other = meter.acquire_lane()
        count(meter, packets(np.arange(MANY)))
        count(meter, packets(np.arange(apart, MANY + apart)), rx=True, lane=other)
        retired = meter.retire()
        rows, sizes = gathered(retired.tun)
        assert max(sizes) <= SLICE_ROWS
        assert len(rows) == unique(rows) == MANY + apart
        both = (rows["tx_packets"] == 1) & (rows["rx_packets"] == 1)
        assert both.sum() == MANY - apart
        assert rows["tx_packets"].sum() == rows["rx_packets"].sum() == MANY
        meter.clear()
        meter.release_lane(other)


@pytest.mark.parametrize("threads", [3, 16, 17])
def test_what_more_threads_counted(threads: int) -> None:
    """Each has a part of the connections, with its neighbour's; up to 16 come some at a time."""
    with Meter(2 * MANY, max_lanes=threads) as meter:
        lanes = [meter.acquire_lane() for _ in range(threads)]
        part = MANY // threads
        for number, lane in enumerate(lanes):
            start = number * part
            count(meter, packets(np.arange(start, start + 2 * part)), rx=number % 2 == 1, lane=lane)
        rows, sizes = gathered(meter.retire().tun)
        assert len(rows) == unique(rows) == (threads + 1) * part
        assert ((rows["tx_packets"] == 1) & (rows["rx_packets"] == 1)).sum() == (threads - 1) * part
        assert rows["tx_packets"].sum() + rows["rx_packets"].sum() == 2 * threads * part
        assert max(sizes) <= SLICE_ROWS
        for lane in lanes:
            meter.release_lane(lane)


def test_two_threads_in_a_file_are_merged(tmp_path: Path) -> None:
    """There nobody believes an index: the rows are the same."""
    tmp_path.chmod(0o700)
    with Meter.create(tmp_path / "meter", MANY + 1) as meter:
        count(meter, packets(np.arange(MANY)))
        with Meter.attach(tmp_path / "meter") as second:
            count(second, packets(np.arange(MANY)), rx=True)
            rows, sizes = gathered(meter.retire().tun)
        assert len(rows) == unique(rows) == MANY
        assert max(sizes) <= SLICE_ROWS


def test_what_is_unattributed_is_the_last_row() -> None:
    """Also where a slice is just full."""
    with Meter(2 * SLICE_ROWS) as meter:
        for n in (0, 3, SLICE_ROWS):
            count(meter, packets(np.arange(n)))
            meter.update_tx(b"no packet")
            rows, _ = gathered(meter.retire().tun)
            assert len(rows) == n + 1
            assert (rows["version"][-1], rows["tx_bytes"][-1]) == (0, 9)
            meter.clear()


def messages_of(exit_traffic: str) -> list[Message]:
    """Those of a period with connections inside and outside of the overlay."""
    made: list[Message] = []
    logger = Logger()
    with Meter(3 * MANY) as meter:
        logger.startup(
            "n",
            tun=MeterDevice(meter),
            sink=made.append,
            routes=ROUTES,
            poll_period_s=3600,
            exit_traffic=exit_traffic,
        )
        count(meter, packets(np.arange(MANY)))
        count(meter, packets(np.arange(MANY), outside=True))
        logger.shutdown()
        counters = logger.counters()
    assert counters.connections == 2 * MANY
    assert counters.tun["tx_packets"] == 2 * MANY
    assert counters.messages == len(made)
    return made


def entries(messages: list[Message], name: str) -> Iterator[FlowArray]:
    """What messages have of a class, where they have any."""
    for message in messages:
        rows = getattr(message, name)
        if len(rows):
            yield rows


@pytest.mark.parametrize("mode", ["aggregate", "anonymize", "log", "drop"])
def test_exit_traffic_of_many_rows(mode: str) -> None:
    """A sum, or an entry for each address, is one for the whole period; in full, each once."""
    made = messages_of(mode)
    inside = np.concatenate(list(entries(made, "virtual_traffic")))
    assert len(inside) == unique(inside) == MANY
    outside = list(entries(made, "exit_traffic"))
    if mode == "drop":
        assert outside == []
        return
    rows = np.concatenate(outside)
    assert rows["tx_packets"].sum() == MANY
    assert len(rows) == (MANY if mode == "log" else 1)
    if mode == "anonymize":
        assert bytes(rows["src"][0])[12:] == bytes((100, 64, 0, 1))
    for message in made:
        ports = message.virtual_traffic[["src_port", "dst_port"]]
        assert (ports == np.sort(ports)).all()


def test_an_array_is_cut_into_slices() -> None:
    """Also an empty one, and one that ends with a slice."""
    for n, sizes in (
        (0, [0]),
        (1, [1]),
        (SLICE_ROWS, [SLICE_ROWS]),
        (SLICE_ROWS + 1, [SLICE_ROWS, 1]),
    ):
        parts = list(Rows.of(np.zeros(n, FLOW_DTYPE)))
        assert [len(rows) for rows, _ in parts] == sizes
        assert [last for _, last in parts] == [False] * (len(sizes) - 1) + [True]
