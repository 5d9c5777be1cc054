"""Pollers that are killed (SIGKILL) at any line lose nothing and double nothing."""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import netlog
from netlog.sinks import FileShipper, FileSink, Rotation, SpooledSink
from netlog.spool import Record, Spool
from tests.stress.crashes import Setup, poll, poll_and_die, read_lines, traffic, writing
from tests.support.soak import short_and_soak

FLOWS = 120
SPOOL_BYTES = 4 << 20
PACKET_BYTES = 28
DATAGRAM_BYTES = 60
INSIDE = ("virtualTraffic", "subnetTraffic", "exitTraffic")
WATCHED = (
    "netlog.meter.meter",
    "netlog.meter.handle",
    "netlog.logger.poller",
    "netlog.sinks.delivery",
    "netlog.logger.points",
    "netlog.logger.period_config",
    "netlog.model.periods",
    "netlog.logger.logger",
    "netlog.spool",
    "netlog.sinks",
)


class Receiver:
    """A shipper to the other end of a pipe that never fails: a file, each record with its name."""

    max_records = 5
    max_bytes = 1 << 18
    overhead_bytes = 60

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def prepare(self, note: bytes) -> bytes:
        """There is nothing to prepare."""
        return note

    def ship(self, records: Sequence[Record]) -> bytes:
        """Append each as a line, in one write.

        A write that the kill cut short leaves half a line, which nobody acknowledged.
        """
        lines = [
            b'\n{"name":[%d,%d],"message":%s}\n' % (one.proc_id, one.proc_seq, one.payload)
            for one in records
        ]
        os.write(self._fd, b"".join(lines))
        return b""

    def interrupt(self) -> None:
        """Nothing keeps it waiting."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


@pytest.fixture
def meter_path(fast_dir: Path) -> Path:
    """A meter in a file that nobody polls."""
    path = fast_dir / "run" / "meter"
    netlog.Meter.create(path, 4 * FLOWS, max_lanes=2).close()
    return path


def lines_to_die_at(setup: Setup, rounds: int) -> list[int]:
    """Lines from first to last, coprime steps apart, so that all parts have their turns."""
    last = 1
    while poll_and_die(setup, last):
        last *= 2
    return [1 + number * last // rounds for number in range(rounds)]


def kill_pollers(setup: Setup, rounds: int) -> tuple[int, int, set[str]]:
    """Kill a poller at each of the lines while packets are counted; then let one come through.

    Returns:
        The packets that were counted, how many pollers died, and where.
    """
    with writing(setup.meter, FLOWS) as finish:
        places = [poll_and_die(setup, line) for line in lines_to_die_at(setup, rounds)]
        counted = finish()
    poll(setup, 2)
    died = [place for place in places if place]
    return counted, len(died), set(died)


@short_and_soak("rounds", 40, 160)
def test_killed_pollers_a_remote_sink_has_everything_once(
    fast_dir: Path, meter_path: Path, rounds: int
) -> None:
    """What arrives adds up to what was counted; what comes twice has one and the same name."""
    arrived = fast_dir / "arrived"

    def open_sink() -> SpooledSink:
        spool = Spool(fast_dir / "spool", max_bytes=SPOOL_BYTES)
        return SpooledSink(spool, Receiver(arrived), node_id="a", name="remote")

    counted, died, places = kill_pollers(Setup(meter_path, open_sink, WATCHED), rounds)
    assert died > rounds // 3
    assert len(places) >= rounds // 4, places
    by_name: dict[tuple[int, int], dict[str, object]] = {}
    for line in whole_lines(arrived):
        name = tuple(line["name"])
        assert by_name.setdefault(name, line["message"]) == line["message"]
    messages = list(by_name.values())
    assert traffic(messages, *INSIDE) == (counted, counted * PACKET_BYTES)
    assert traffic(messages, "physicalTraffic") == (counted, counted * DATAGRAM_BYTES)
    check_periods(messages)


@short_and_soak("rounds", 40, 160)
def test_killed_pollers_a_file_has_everything_once(
    fast_dir: Path, meter_path: Path, rounds: int
) -> None:
    """The lines of the file, and of those that were put aside, add up to what was counted."""
    flows = fast_dir / "flows.jsonl"

    def open_sink() -> SpooledSink:
        file = FileSink(flows, rotation=Rotation(max_bytes=100_000, keep=1000))
        spool = Spool(fast_dir / "spool", max_bytes=SPOOL_BYTES)
        return SpooledSink(spool, FileShipper(file), node_id="a", name="file")

    counted, died, places = kill_pollers(Setup(meter_path, open_sink, WATCHED), rounds)
    assert died > rounds // 3
    assert len(places) >= rounds // 4, places
    files = sorted(fast_dir.glob("flows*"))
    assert len(files) > 3
    messages = read_lines(files)
    assert traffic(messages, *INSIDE) == (counted, counted * PACKET_BYTES)
    assert traffic(messages, "physicalTraffic") == (counted, counted * DATAGRAM_BYTES)
    check_periods(messages)


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that a receiver could make sense of."""
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def check_periods(messages: list[dict[str, object]]) -> None:
    """Periods do not overlap; a message of the same period has the same times."""
    periods = sorted({(str(message["start"]), str(message["end"])) for message in messages})
    for (_, end), (start, _) in itertools.pairwise(periods):
        assert _digits(end) < _digits(start)


def _digits(time: str) -> str:
    """RFC 3339 with all nine digits, so that text compares as time."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
