"""netlog.sinks.SinkGroup: several sinks, plain and durable, as one durable sink."""

import contextlib
import os
from pathlib import Path

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.model.loss import Loss, LossNotice
from netlog.sinks import DurableSink, FileSink, PeriodId, Sink, SinkCounters, SinkGroup, StreamSink
from tests.support.namespace import wait_for


def message(number: int) -> Message:
    """A message that says which one it is, of ten packets and as many bytes as its number."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 10, number, 0, 0)
    return Message(f"n{number}", number, number + 1, virtual_traffic=flow_array([row]))


def period(epoch: int) -> PeriodId:
    """A period of a meter."""
    return PeriodId(bytes(16), epoch)


class Store:
    """A durable sink in memory that fails where it is told to."""

    def __init__(self) -> None:
        self.fails_at = ""
        self.stored: list[str] = []
        self.periods: list[PeriodId] = []
        self.closed = False
        self.aborts = 0
        self._period = period(0)
        self._open: list[str] = []

    def begin(self, period: PeriodId) -> bool:
        """Begin, unless it has the period."""
        self._fail("begin")
        self._period, self._open = period, []
        return period not in self.periods

    def write(self, message: Message | LossNotice) -> None:
        """Keep a message for commit."""
        self._fail("write")
        self._open.append(
            f"{message.node_id} {message.loss}"
            if isinstance(message, LossNotice)
            else message.node_id
        )

    def commit(self) -> None:
        """Store what was written."""
        self._fail("commit")
        self.stored += self._open
        self.periods.append(self._period)

    def abort(self) -> None:
        """Forget it."""
        self.aborts += 1
        self._open = []

    def close(self) -> None:
        """Remember."""
        self.closed = True

    def counters(self) -> dict[str, SinkCounters]:
        """What was stored."""
        return {"store": SinkCounters(written=len(self.stored))}

    def _fail(self, step: str) -> None:
        if step == self.fails_at:
            raise OSError(28, f"No space left on device at {step}")


class Taking:
    """A plain sink in memory."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuses = False

    def write(self, message: Message) -> None:
        """Take it."""
        if self.refuses:
            raise OSError(28, "No space left on device")
        self.taken.append(message.node_id)

    def close(self) -> None:
        """Do nothing."""


def offer(group: SinkGroup, epoch: int, *numbers: int) -> bool:
    """Offer a period as a logger does; whether it was wanted."""
    wanted = group.begin(period(epoch))
    if wanted:
        for number in numbers:
            group.write(message(number))
        group.commit()
    return wanted


def test_a_group_is_a_durable_sink() -> None:
    """The logger may treat it as one."""
    group = SinkGroup({})
    assert isinstance(group, DurableSink)
    assert offer(group, 1) is False
    group.close()


def test_every_sink_has_every_message(tmp_path: Path) -> None:
    """Plain and durable sinks alike, in order."""
    path, store = tmp_path / "flows.jsonl", Store()
    group = SinkGroup({"file": FileSink(path), "store": store})
    assert offer(group, 1, 1, 2)
    assert offer(group, 2, 3)
    group.close()
    group.close()
    ids = [Message.from_json(line).node_id for line in path.read_bytes().splitlines()]
    assert ids == store.stored == ["n1", "n2", "n3"]
    assert store.closed
    assert {name: counters.written for name, counters in group.counters().items()} == {
        "file": 3,
        "store": 3,
    }


def test_a_failing_sink_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """Plain sinks that fail keep their messages for later; the others have theirs at once."""
    path, failing = tmp_path / "flows.jsonl", Taking()
    failing.refuses = True
    group = SinkGroup({"failing": failing, "file": FileSink(path)})
    for number in (1, 2, 3):
        offer(group, number, number)
    wait_for(lambda: group.counters()["file"].written == 3, "the file has all")
    counters = group.counters()["failing"]
    assert (counters.written, counters.pending) == (0, 3)
    failing.refuses = False
    group.close()
    assert failing.taken == ["n1", "n2", "n3"]


@pytest.mark.parametrize("step", ["begin", "write", "commit"])
def test_a_durable_sink_that_fails_misses_the_period(
    step: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The others have it; the loss is counted and told; the next period is tried again."""
    bad, good, plain = Store(), Store(), Taking()
    group = SinkGroup({"bad": bad, "good": good, "plain": plain})
    offer(group, 1, 1)
    bad.fails_at = step
    for epoch in (2, 3):
        offer(group, epoch, 2 * epoch, 2 * epoch + 1)
    assert "No space left on device" in group.counters()["bad"].last_error
    bad.fails_at = ""
    offer(group, 4, 9)
    offer(group, 5, 10)
    group.close()
    assert bad.stored == ["n1", f"n7 {Loss(4, 40, 4 + 5 + 6 + 7)}", "n9", "n10"]
    assert good.stored == plain.taken == ["n1", "n4", "n5", "n6", "n7", "n9", "n10"]
    counters = group.counters()["bad"]
    assert (counters.written, counters.errors) == (4, 2)
    dropped = (counters.dropped, counters.dropped_packets, counters.dropped_bytes)
    assert dropped == (4, 40, 4 + 5 + 6 + 7)
    assert counters.last_error == ""
    assert bad.aborts == (2 if step == "write" else 0)
    assert [record.message for record in caplog.records] == [
        f"bad: failed, will try again: OSError: [Errno 28] No space left on device at {step}",
        "bad: works again; dropped so far: 4 messages",
    ]


@pytest.mark.parametrize("step", ["begin", "write", "commit"])
def test_a_period_that_no_durable_sink_has_is_offered_again(step: str) -> None:
    """Commit fails, nothing counts as dropped, and a plain sink does not get it twice."""
    one, two, plain = Store(), Store(), Taking()
    group = SinkGroup({"one": one, "two": two, "plain": plain})
    one.fails_at = two.fails_at = step
    for _ in range(2):
        with pytest.raises(OSError, match=f"No space left on device at {step}"):
            offer(group, 1, 1, 2)
    one.fails_at = two.fails_at = ""
    assert offer(group, 1, 1, 2)
    assert not offer(group, 1, 1, 2)
    assert offer(group, 2, 3)
    group.close()
    assert one.stored == two.stored == plain.taken == ["n1", "n2", "n3"]
    counters = group.counters()["one"]
    assert (counters.dropped, counters.errors, counters.retried) == (0, 2, 2)


def test_a_period_that_one_sink_has_is_not_failed() -> None:
    """After a restart one sink may have what the other has not; that one may fail alone."""
    one, two = Store(), Store()
    one.periods.append(period(1))
    group = SinkGroup({"one": one, "two": two})
    two.fails_at = "write"
    assert offer(group, 1, 1)
    group.close()
    assert (one.stored, two.stored) == ([], [])
    assert [counters.dropped for counters in group.counters().values()] == [0, 1]


def test_an_aborted_period_goes_on_where_a_plain_sink_was() -> None:
    """What a plain sink has cannot be taken back: it gets only the rest when it comes again."""
    store, plain = Store(), Taking()
    members: list[dict[str, Sink]] = [{"plain": plain}, {"plain": plain, "store": store}]
    for sinks in members:
        plain.taken.clear()
        group = SinkGroup(sinks)
        assert group.begin(period(1))
        group.write(message(1))
        group.abort()
        assert offer(group, 1, 1, 2)
        group.close()
        assert plain.taken == ["n1", "n2"]
    assert store.stored == ["n1", "n2"]


def test_messages_outside_of_a_period_reach_plain_sinks() -> None:
    """A group may be used as a plain sink of plain sinks."""
    plain = Taking()
    group = SinkGroup({"plain": plain})
    for number in (1, 2):
        group.write(message(number))
    group.close()
    assert plain.taken == ["n1", "n2"]


def test_a_sink_that_hangs_is_named_at_the_end(tmp_path: Path) -> None:
    """The others are closed, and the error says whose messages were given up."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    path = tmp_path / "flows.jsonl"
    group = SinkGroup({"pipe": StreamSink(writer), "file": FileSink(path)})
    count = 0
    while not group.counters()["pipe"].dropped:
        group.write(message(count))
        count += 1
        wait_for(lambda: group.counters()["file"].pending == 0, "the file is not behind")
    with pytest.raises(TimeoutError, match=r"^pipe: took longer than 1 s"):
        group.close(1.0)
    FileSink(path).close()
    assert len(path.read_bytes().splitlines()) == count
    assert group.counters()["pipe"].pending == 0
    os.close(reader)
    os.close(writer)


def test_a_hang_up_reaches_every_file(tmp_path: Path) -> None:
    """Plain ones through their queue."""
    paths = [tmp_path / "a", tmp_path / "b"]
    group = SinkGroup({path.name: FileSink(path) for path in paths})
    for path in paths:
        path.rename(path.with_suffix(".1"))
    group.reopen()
    for path in paths:
        wait_for(path.exists, "it is made again")
    group.close()
