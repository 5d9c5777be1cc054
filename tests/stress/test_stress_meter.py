"""Python threads that count against threads that extract, and loops that must leak nothing."""

from __future__ import annotations

import gc
import signal
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import netlog

WRITERS, FLOWS = 4, 500


def udp4(flow: int, payload_bytes: int) -> bytes:
    """Make an IPv4 UDP packet to port `flow`."""
    length = 28 + payload_bytes
    header = bytes([0x45, 0, length >> 8, length & 255, 0, 0, 0, 0, 64, 17, 0, 0])
    addresses = bytes([100, 64, 0, 1, 192, 0, 2, 1])
    ports = (7).to_bytes(2, "big") + flow.to_bytes(2, "big")
    return header + addresses + ports + bytes(4) + bytes(payload_bytes)


PACKETS = [udp4(flow, flow % 90) for flow in range(FLOWS)]
LENGTHS = np.array([len(packet) for packet in PACKETS], dtype=np.uint32)
OFFSETS = np.cumsum(LENGTHS, dtype=np.uint64) - LENGTHS
DATA = b"".join(PACKETS)


class Tally:
    """Sums of extractions, one row a connection in each of them."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.packets: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.unattributed = [0, 0]
        self.epochs = 0

    def add(self, rows: np.ndarray, unattributed: tuple[int, int]) -> None:
        """Add what one extraction gave."""
        ports = rows["dst_port"]
        assert len(np.unique(ports)) == len(rows)
        for port, packets, size in zip(
            ports.tolist(), rows["tx_packets"].tolist(), rows["tx_bytes"].tolist(), strict=True
        ):
            self.packets[port] += packets
            self.bytes[port] += size
        self.unattributed[0] += unattributed[0]
        self.unattributed[1] += unattributed[1]
        self.epochs += 1


def count_batches(meter: netlog.Meter, seed: int, batches: int, sent: Counter[int]) -> None:
    """Count random parts of the packets in batches, and one by one."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        picked = random.integers(0, FLOWS, size=int(random.integers(0, 400)))
        meter.update_batch(DATA, OFFSETS[picked], LENGTHS[picked])
        sent.update(picked.tolist())
        one = int(random.integers(0, FLOWS))
        meter.update_tx(PACKETS[one])
        sent[one] += 1


@pytest.mark.parametrize("max_flows", [FLOWS, FLOWS // 4], ids=["room", "full tables"])
def test_threads_that_count_against_one_that_extracts(max_flows: int) -> None:
    """Over all extractions each connection has what was counted; what met a full table is told."""
    sent: list[Counter[int]] = [Counter() for _ in range(WRITERS)]
    tally = Tally()
    done = threading.Event()
    with netlog.Meter(max_flows) as meter:

        def extract_once() -> None:
            rows = meter.extract()
            tally.add(rows, (meter.unattributed.packets, meter.unattributed.bytes))

        def extract_all() -> None:
            while not done.is_set():
                extract_once()

        poller = threading.Thread(target=extract_all)
        writers = [
            threading.Thread(target=count_batches, args=(meter, seed, 250, sent[seed]))
            for seed in range(WRITERS)
        ]
        for thread in [poller, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        poller.join()
        extract_once()
    total = sum(sent, Counter())
    total_bytes = sum(len(PACKETS[flow]) * times for flow, times in total.items())
    assert tally.packets.total() + tally.unattributed[0] == total.total()
    assert tally.bytes.total() + tally.unattributed[1] == total_bytes
    if max_flows == FLOWS:
        assert tally.packets == total
        assert tally.unattributed == [0, 0]


def test_close_while_others_count_and_extract() -> None:
    """A meter closed under its callers gives each of them StateError, and nothing worse."""
    for _ in range(30):
        meter = netlog.Meter(1000)
        ended: list[type[Exception]] = []

        def work(
            call: str, meter: netlog.Meter = meter, ended: list[type[Exception]] = ended
        ) -> None:
            try:
                while True:
                    if call == "batch":
                        meter.update_batch(DATA, OFFSETS, LENGTHS)
                    elif call == "wait":
                        meter.wait(0.001)
                    elif call == "one":
                        meter.update_rx(PACKETS[1])
                    else:
                        meter.extract()
            except netlog.StateError as error:
                ended.append(type(error))

        calls = ["batch", "one", "extract", "wait"]
        threads = [threading.Thread(target=work, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        meter.close()
        for thread in threads:
            thread.join()
        assert ended == [netlog.StateError] * len(calls)


def test_a_wait_ends_when_the_meter_is_closed() -> None:
    """Closing does not wait for the time-out of a poller that sleeps."""
    meter = netlog.Meter(1000)
    entered = threading.Event()

    def sleep() -> None:
        entered.set()
        meter.wait(3600.0)

    thread = threading.Thread(target=sleep)
    thread.start()
    entered.wait()
    meter.close()
    thread.join()
    assert meter.closed


class InterruptedCallError(Exception):
    """What the signal's handler raises, wherever the thread happens to be."""


def test_a_signal_between_any_two_steps_leaves_no_batch_open() -> None:
    """Calls that a signal breaks off, as Ctrl-C does, leave the meter whole and its sums exact."""
    datagrams = np.zeros(3, netlog.DATAGRAM_DTYPE)
    datagrams["version"] = 4
    whole, broken_off, tun, sock = 0, 0, 0, 0

    def interrupt(_number: int, _frame: object) -> None:
        raise InterruptedCallError

    before = signal.signal(signal.SIGALRM, interrupt)
    with netlog.Meter(FLOWS) as meter:
        # The first call takes a lane, and that is not what is looked at here.
        meter.update_tx(PACKETS[0])
        meter.extract()
        try:
            while broken_off < 1000:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + broken_off % 50))
                    while True:
                        meter.update_tx(PACKETS[1])
                        meter.update_batch(DATA, OFFSETS[:5], LENGTHS[:5])
                        meter.update_datagrams(datagrams)
                        whole += 1
                except InterruptedCallError:
                    broken_off += 1
                snapshot = meter.snapshot(timeout_s=0.0)
                meter.clear()
                assert snapshot.late_lanes == 0
                tun += int(snapshot.tun["tx_packets"].sum())
                sock += int(snapshot.sock["tx_packets"].sum())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert whole * 6 <= tun <= (whole + broken_off) * 6
    assert whole * 3 <= sock <= (whole + broken_off) * 3


def anonymous_kib() -> int:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])


def test_opening_and_closing_leaks_nothing() -> None:
    """Meters that were opened, used and closed leave no descriptor, thread, mapping or memory."""

    def use_meters(times: int) -> None:
        for _ in range(times):
            with netlog.Meter(20000, max_lanes=4) as meter:
                meter.update_batch(DATA, OFFSETS, LENGTHS)
                assert len(meter.extract()) == FLOWS
                meter.update_tx(PACKETS[0])
                meter.snapshot()

    def held() -> tuple[int, int, int]:
        gc.collect()
        mappings = Path("/proc/self/maps").read_text().count("\n")
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), mappings

    use_meters(20)
    before, kib = held(), anonymous_kib()
    use_meters(200)
    assert held() == before
    # One meter touches about 300 KiB: 200 of them would be 60 MiB.
    assert anonymous_kib() - kib < 1024


def test_a_forgotten_meter_is_closed() -> None:
    """A meter that nobody closed gives its memory back when it is collected."""
    mappings = Path("/proc/self/maps")
    netlog.Meter(3000)
    gc.collect()
    before = mappings.read_text().count("\n")
    for _ in range(50):
        netlog.Meter(3000).update_tx(PACKETS[0])
    gc.collect()
    assert mappings.read_text().count("\n") <= before + 2
