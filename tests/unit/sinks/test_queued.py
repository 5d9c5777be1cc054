"""netlog.sinks.QueuedSink: a sink that is slow or fails delays nobody."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import FileSink, QueuedSink, StreamSink
from netlog.sinks.delivery import MAX_PENDING
from tests.support.namespace import wait_for


def message(number: int) -> Message:
    """A message that says which one it is, of ten packets and as many bytes as its number."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 10, number, 0, 0)
    return Message(f"n{number}", number, number + 1, virtual_traffic=flow_array([row]))


class Gate:
    """A sink that takes nothing before it is opened, and may refuse."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.refuses = False
        self.taken: list[str] = []
        self.told: list[bytes] = []
        self.closed = 0

    def write(self, message: Message) -> None:
        """Wait for the gate, then take or refuse."""
        self.entered.set()
        self.opened.wait()
        if self.refuses:
            raise OSError(28, "No space left on device", "full")
        self.taken.append(message.node_id)

    def write_line(self, line: bytes) -> None:
        """Take what is told of a loss."""
        self.told.append(line)

    def close(self) -> None:
        """Count."""
        self.closed += 1


def test_messages_arrive_in_order(tmp_path: Path) -> None:
    """What was written before close is in the file after it."""
    path = tmp_path / "flows.jsonl"
    sink = QueuedSink(FileSink(path), "file")
    for number in range(MAX_PENDING):
        sink.write(message(number))
    sink.close()
    ids = [Message.from_json(line).node_id for line in path.read_bytes().splitlines()]
    assert ids == [f"n{number}" for number in range(MAX_PENDING)]
    counters = sink.counters()["file"]
    assert (counters.written, counters.pending, counters.dropped) == (MAX_PENDING, 0, 0)
    with pytest.raises(ValueError, match="closed"):
        sink.write(message(1))
    sink.close()


def test_a_slow_sink_does_not_delay_its_writer() -> None:
    """Beyond 64 that wait the oldest goes, counted with its packets and bytes, also in flight."""
    gate = Gate()
    sink = QueuedSink(gate, "gate")
    sink.write(message(0))
    assert gate.entered.wait(20)
    for number in range(1, MAX_PENDING + 4):
        sink.write(message(number))
    counters = sink.counters()["gate"]
    assert (counters.pending, counters.dropped) == (MAX_PENDING + 1, 3)
    assert (counters.dropped_packets, counters.dropped_bytes) == (30, 1 + 2 + 3)
    gate.opened.set()
    sink.close()
    assert gate.taken == ["n0", *(f"n{number}" for number in range(4, MAX_PENDING + 4))]
    assert gate.closed == 1


def test_a_sink_that_works_gets_more_messages_than_can_wait() -> None:
    """Of a period of very many connections nothing is dropped."""
    gate = Gate()
    sink = QueuedSink(gate, "gate")
    opener = threading.Timer(0.05, gate.opened.set)
    opener.start()
    for number in range(5 * MAX_PENDING):
        sink.write(message(number))
    sink.close(timeout_s=60)
    opener.join()
    assert len(gate.taken) == 5 * MAX_PENDING
    assert sink.counters()["gate"].dropped == 0


def test_a_failing_sink_is_tried_again_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has to write for it; the log has one line when it fails and one when it works."""
    gate = Gate()
    gate.opened.set()
    gate.refuses = True
    sink = QueuedSink(gate, "gate")
    sink.write(message(1))
    wait_for(lambda: sink.counters()["gate"].retried >= 2, "it was tried again")
    counters = sink.counters()["gate"]
    assert (counters.written, counters.pending) == (0, 1)
    assert "No space left on device" in counters.last_error
    gate.refuses = False
    wait_for(lambda: sink.counters()["gate"].written == 1, "it was delivered")
    assert sink.counters()["gate"].last_error == ""
    sink.close()
    assert [record.message.split(":")[:2] for record in caplog.records] == [
        ["gate", " sink failed, will try again"],
        ["gate", " sink works again; dropped so far"],
    ]


def test_what_is_refused_at_the_end_is_dropped() -> None:
    """A sink that fails at close is asked once more, then its messages count as dropped."""
    gate = Gate()
    gate.opened.set()
    gate.refuses = True
    sink = QueuedSink(gate, "gate")
    for number in (1, 2):
        sink.write(message(number))
    sink.close()
    counters = sink.counters()["gate"]
    assert (counters.pending, counters.dropped, counters.dropped_bytes) == (0, 2, 3)
    assert (gate.closed, sink.hangs) == (1, False)


def test_a_sink_that_hangs_does_not_keep_close() -> None:
    """What waits is given up, with what it has in hand; it is closed when it returns at last."""
    gate = Gate()
    sink = QueuedSink(gate, "gate")
    for number in (1, 2):
        sink.write(message(number))
    assert gate.entered.wait(20)
    sink.close(timeout_s=0.01)
    assert sink.hangs
    assert gate.closed == 0
    gate.opened.set()
    wait_for(lambda: not sink.hangs, "it has returned")
    counters = sink.counters()["gate"]
    assert (counters.written, counters.pending, counters.dropped) == (0, 0, 2)
    assert (gate.closed, gate.told) == (1, [])


def test_a_pipe_that_nobody_reads_is_told_of_its_gap() -> None:
    """A reader that comes back finds whole lines, and a line about those that are missing."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        sink = QueuedSink(StreamSink(writer), "pipe")
        count = 0
        while not (dropped := sink.counters()["pipe"].dropped):
            sink.write(message(count))
            count += 1
        found: list[dict[str, Any]] = []
        while len(found) < count - dropped + 1:
            found.append(json.loads(lines.readline()))
        sink.close()
        os.close(writer)
        assert lines.read() == b""
    told = [entry for entry in found if "dropped" in entry]
    assert [entry["dropped"]["messages"] for entry in told] == [dropped]
    assert told[0]["dropped"]["packets"] == 10 * dropped
    assert len(found) == count - dropped + 1
    gap = found.index(told[0])
    numbers = [int(entry["nodeId"][1:]) for entry in found if "dropped" not in entry]
    assert numbers == [*range(gap), *range(gap + dropped, count)]


def test_reopening_does_not_wait_for_a_message(tmp_path: Path) -> None:
    """A file that was renamed is let go at once, and there is a new one."""
    path, aside = tmp_path / "flows.jsonl", tmp_path / "aside"
    sink = QueuedSink(FileSink(path), "file")
    sink.write(message(1))
    wait_for(lambda: sink.counters()["file"].written == 1, "it is written")
    path.rename(aside)
    sink.reopen()
    wait_for(path.exists, "the file is made again")
    FileSink(aside).close()  # nobody holds its lock
    sink.write(message(2))
    sink.close()
    assert path.read_bytes() == message(2).to_json() + b"\n"
    assert aside.read_bytes() == message(1).to_json() + b"\n"


def test_reopening_tries_a_failing_sink_at_once() -> None:
    """Whoever has made room says so, and need not wait for the next attempt."""
    gate = Gate()
    gate.opened.set()
    gate.refuses = True
    sink = QueuedSink(gate, "gate")
    sink.write(message(1))
    wait_for(lambda: sink.counters()["gate"].errors >= 5, "attempts are seconds apart")
    gate.refuses = False
    sink.reopen()
    sink.close()
    assert gate.taken == ["n1"]


def test_a_queue_leaves_no_thread() -> None:
    """Opened and closed, it has nothing."""
    before = threading.active_count()
    for _ in range(10):
        gate = Gate()
        gate.opened.set()
        QueuedSink(gate, "gate").close()
    assert threading.active_count() == before
