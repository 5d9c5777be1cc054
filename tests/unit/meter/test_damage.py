"""Any word of a meter's file is damaged: a successor refuses the file, or goes on metering."""

import itertools
import logging
import struct
import threading
import time
from pathlib import Path

import pytest

from netlog import Logger, Message, Meter, MeterDevice, MeterFileError
from netlog.model.periods import Period

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")
PERIODS = 320
"""Where the region has the two periods, of three words each."""
HEADER_BYTES = 1280
LANE_BYTES = 1024
TUN_COUNTS = [4096 + 128, 4096 + 368]
"""Where the lane has the number of records in each bank at the TUN. See docs/limits.md."""
S = 10**9


def make(path: Path, *, retired: bool = True) -> None:
    """A file with a retired and dated period of one packet, and two packets after it."""
    with Meter.create(path, max_flows=16, max_lanes=1) as meter:
        meter.update_tx(PACKET)
        if retired:
            meter.snapshot()
            now = time.time_ns()
            boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            meter.date(Period(now - S, now, boot))
        meter.update_tx(PACKET)
        meter.update_rx(PACKET)


def damage(path: Path, at: int, value: int) -> None:
    """Write a word."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack("<Q", value))


def succeed(path: Path) -> tuple[list[Message], int]:
    """Take the file over, count five packets, and return the messages and the failed polls."""
    messages: list[Message] = []
    with Meter.attach(path, poll=True) as meter:
        logger = Logger()
        logger.startup("a", tun=MeterDevice(meter), sink=messages.append, poll_period_s=3600)
        for _ in range(5):
            meter.update_tx(PACKET)
        logger.shutdown()
        return messages, logger.counters().failed_polls


@pytest.mark.parametrize(
    ("word", "value"),
    [(0, 0), (0, (1 << 64) - 1), (1, 0), (1, (1 << 64) - 1), (1, 1 << 62), (2, (1 << 64) - 1)],
)
def test_a_damaged_period_is_dated_anew(
    tmp_path: Path, word: int, value: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its counts are sent, with times of the present, and it is told once."""
    path = tmp_path / "run" / "meter"
    begun = time.time_ns() - 2 * S
    make(path)
    for slot in range(2):
        damage(path, PERIODS + 24 * slot + 8 * word, value)
    messages, failed = succeed(path)
    assert sum(message.packets for message in messages) == 8
    assert failed == 0
    for message, after in itertools.pairwise(messages):
        assert message.end_ns < after.start_ns
    assert all(begun < message.start_ns <= message.end_ns <= time.time_ns() for message in messages)
    assert caplog.text.count("dated anew") == 1


def test_a_damaged_period_begins_after_the_one_before(tmp_path: Path) -> None:
    """The gap is as long as it was, because the earlier period is whole."""
    path = tmp_path / "run" / "meter"
    make(path)
    with Meter.attach(path, poll=True) as meter:
        meter.clear()
        meter.snapshot()
        last, _ = meter.period
        now = time.time_ns()
        meter.date(Period(last.end_ns + 1, now, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
    damage(path, PERIODS + 24 + 8, 5)
    messages, _ = succeed(path)
    assert messages[0].start_ns == last.end_ns + 1
    assert sum(message.packets for message in messages) == 7


@pytest.mark.parametrize("value", [0, 1, 1 << 62, (1 << 64) - 1])
@pytest.mark.parametrize("retired", [True, False])
def test_any_damaged_word(tmp_path: Path, value: int, retired: bool) -> None:  # noqa: FBT001
    """It is refused, or every packet from then on is sent, or the polls that failed are counted."""
    n_refused = n_sent = 0
    good = tmp_path / "run" / "good"
    make(good, retired=retired)
    data = good.read_bytes()
    path = tmp_path / "run" / "meter"
    path.touch(0o600)
    threads = threading.active_count()
    for at in [*range(0, HEADER_BYTES, 8), *range(4096, 4096 + LANE_BYTES, 8)]:
        path.write_bytes(data)
        damage(path, at, value)
        try:
            messages, failed = succeed(path)
        except MeterFileError:
            n_refused += 1
            continue
        if value or at not in TUN_COUNTS:
            assert failed or sum(message.packets for message in messages) >= 5, at
        n_sent += not failed
        assert all(message.end_ns < time.time_ns() + S for message in messages), at
    assert n_refused > 0
    assert n_sent > 100
    assert threading.active_count() == threads


def test_a_wake_arrives_whatever_is_damaged(tmp_path: Path) -> None:
    """Also where the word that counts the wakes would wrap to what the poller has seen."""
    good = tmp_path / "run" / "good"
    make(good, retired=False)
    data = good.read_bytes()
    path = tmp_path / "run" / "meter"
    path.touch(0o600)
    woken = 0
    for at in range(0, HEADER_BYTES, 8):
        path.write_bytes(data)
        damage(path, at, (1 << 64) - 1)
        try:
            with Meter.attach(path, poll=True) as meter:
                meter.wake()
                assert meter.wait(10), at
                woken += 1
        except MeterFileError:
            continue
    assert woken > 100


def test_a_damaged_record_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its counts are sent without addresses, and it is told once."""
    path = tmp_path / "run" / "meter"
    make(path)
    data = bytearray(path.read_bytes())
    records = [at for at in range(4096, len(data) - 64, 64) if PACKET[12:16] in data[at : at + 64]]
    assert records
    for at in records:
        data[at : at + 64] = bytes(b ^ 0xFF for b in data[at : at + 48]) + data[at + 48 : at + 64]
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        messages, failed = succeed(path)
    assert failed == 0
    assert sum(message.packets for message in messages) >= 5
    assert caplog.text.count("damaged records") == 1
