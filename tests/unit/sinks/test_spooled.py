"""netlog.sinks.SpooledSink: what is committed gets there, however often the other side fails."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import Backoff, DurableSink, NotTaken, PeriodId, Reports, SpooledSink
from netlog.spool import Record, Spool

METER = b"0123456789abcdef"


def message(number: int) -> Message:
    """A message that says which one it is."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", number, 100 * number, 0, 0)
    return Message(f"n{number}", number, number + 1, virtual_traffic=flow_array([row]))


class Receiver:
    """A shipper that does what it is told with each batch, and takes it if it is told nothing."""

    def __init__(self, *script: Exception | None, poison: Sequence[str] = ()) -> None:
        self.max_records, self.max_bytes, self.overhead_bytes = 16, 1 << 20, 0
        self.script = list(script)
        self.poison = set(poison)
        self.taken: list[str] = []
        self.batches: list[int] = []
        self.identities: dict[tuple[int, int], str] = {}
        self.losses: list[int] = []
        self.down = False
        self.closed = 0
        self.tried = threading.Semaphore(0)
        self.prepared: list[bytes] = []

    def prepare(self, note: bytes) -> bytes:
        """Remember the note."""
        self.prepared.append(note)
        return note

    def ship(self, records: Sequence[Record]) -> bytes:
        """Take the batch, or fail as it was told."""
        self.batches.append(len(records))
        try:
            if self.down:
                raise ConnectionRefusedError(111, "Connection refused")
            error = self.script.pop(0) if self.script else None
            if error is not None:
                raise error
            names = [json.loads(record.payload)["nodeId"] for record in records]
            if self.poison & set(names):
                raise NotTaken("400 Bad Request", refused=True)
        finally:
            self.tried.release()
        for name, record in zip(names, records, strict=True):
            key = (record.proc_id, record.proc_seq)
            assert self.identities.setdefault(key, name) == name
            if record.loss:
                self.losses.append(record.loss.messages)
            else:
                self.taken.append(name)
        return b"%d" % len(self.taken)

    def interrupt(self) -> None:
        """Nothing of this takes long."""

    def close(self) -> None:
        """Count."""
        self.closed += 1


def no_wait() -> Backoff:
    """A backoff without waiting."""
    return Backoff(between=lambda low, high: 0 * (low + high))


@contextmanager
def sink_to(
    path: Path, receiver: Receiver, backoff: Backoff | None = None
) -> Iterator[SpooledSink]:
    """A sink that ships to it."""
    spool = Spool(path, max_bytes=1 << 20)
    sink = SpooledSink(spool, receiver, node_id="n", name="there", backoff=backoff or no_wait())
    try:
        yield sink
    finally:
        sink.close()


def store(sink: SpooledSink, epoch: int, *numbers: int) -> None:
    """Store a period of these messages."""
    assert sink.begin(PeriodId(METER, epoch))
    for number in numbers:
        sink.write(message(number))
    sink.commit()


def test_it_is_what_the_logger_asks_for(tmp_path: Path) -> None:
    """A durable sink that reports."""
    with sink_to(tmp_path / "s", Receiver()) as sink:
        assert isinstance(sink, DurableSink)
        assert isinstance(sink, Reports)


def test_what_is_committed_is_shipped(tmp_path: Path) -> None:
    """In order, once, and the counters say so; what was given up by abort is not."""
    receiver = Receiver()
    with sink_to(tmp_path / "s", receiver) as sink:
        store(sink, 1, 1, 2)
        assert not sink.begin(PeriodId(METER, 1))
        sink.begin(PeriodId(METER, 2))
        sink.write(message(9))
        sink.abort()
        store(sink, 2, 3)
        assert sink.wait_empty()
        (counters,) = sink.counters().values()
        assert (counters.written, counters.pending, counters.errors) == (3, 0, 0)
        assert counters.last_error == ""
    assert receiver.taken == ["n1", "n2", "n3"]
    assert receiver.closed == 1


@pytest.mark.parametrize(
    "error",
    [
        NotTaken("503 Service Unavailable"),
        NotTaken("429 Too Many Requests", 0.0),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError("timed out"),
        KeyError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_tried_again(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it works; the log has one line of the outage and one of its end."""
    receiver = Receiver(*[error] * 20)
    with sink_to(tmp_path / "s", receiver) as sink:
        store(sink, 1, 1, 2)
        assert sink.wait_empty()
        (counters,) = sink.counters().values()
        assert (counters.errors, counters.retried, counters.written) == (20, 20, 2)
    assert receiver.taken == ["n1", "n2"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "sink there: failed, will try again: " in lines[0]
    assert lines[1] == "sink there: works again"


def test_the_wait_grows_and_the_receiver_can_ask_for_one() -> None:
    """Full jitter below 1, 2, 4 up to 60 s; Retry-After is honoured up to five minutes."""
    asked: list[tuple[float, float]] = []

    def between(low: float, high: float) -> float:
        asked.append((low, high))
        return high / 2

    backoff = Backoff(between=between)
    waits = [backoff.after_failure() for _ in range(9)]
    assert asked == [(0.0, min(60.0, 2.0**n)) for n in range(9)]
    assert waits[:3] == [0.5, 1.0, 2.0]
    assert backoff.after_failure(17) == 17
    assert backoff.after_failure(1e9) == 300
    assert backoff.after_failure(-5) == 0
    backoff.succeeded()
    assert backoff.after_failure() == 0.5


def test_closing_ends_a_wait_and_keeps_what_is_left(tmp_path: Path) -> None:
    """A sink that waits for an hour closes at once, tries once more, and loses nothing."""
    receiver = Receiver()
    receiver.down = True
    long = Backoff(first_s=3600, max_s=3600, between=lambda _, high: high)
    with sink_to(tmp_path / "s", receiver, long) as sink:
        store(sink, 1, 1, 2)
        receiver.tried.acquire()
        assert sink.counters()["there"].pending == 2
        assert sink.counters()["there"].last_error == "Connection refused"
    assert len(receiver.batches) == 2
    assert receiver.closed == 1
    receiver.down = False
    with sink_to(tmp_path / "s", receiver) as sink:
        assert sink.wait_empty()
    assert receiver.taken == ["n1", "n2"]


def test_closing_ships_what_is_pending(tmp_path: Path) -> None:
    """All of it, if it goes; a sink can be closed twice."""
    receiver = Receiver(ConnectionResetError(104, "reset"))
    long = Backoff(first_s=3600, max_s=3600, between=lambda _, high: high)
    with sink_to(tmp_path / "s", receiver, long) as sink:
        for epoch in range(1, 41):
            store(sink, epoch, epoch)
        receiver.tried.acquire()
        sink.close()
        sink.close()
    assert receiver.taken == [f"n{number}" for number in range(1, 41)]


def test_a_batch_that_is_too_much_is_halved(tmp_path: Path) -> None:
    """A receiver that takes three at a time has them all."""
    receiver = Receiver()
    take = receiver.ship

    def at_most_three(records: Sequence[Record]) -> bytes:
        if len(records) > 3:
            raise NotTaken("413 Content Too Large", refused=True)
        return take(records)

    receiver.ship = at_most_three  # type: ignore[method-assign]
    with sink_to(tmp_path / "s", receiver) as sink:
        store(sink, 1, *range(1, 30))
        assert sink.wait_empty()
        assert sink.counters()["there"].dropped == 0
    assert receiver.taken == [f"n{number}" for number in range(1, 30)]


@pytest.mark.parametrize("poison", [["n5"], ["n1", "n2"], ["n3", "n29"], []])
def test_a_poisoned_message_does_not_block(tmp_path: Path, poison: list[str]) -> None:
    """What alone is refused while others are taken is given up, counted, and told."""
    receiver = Receiver(poison=poison)
    with sink_to(tmp_path / "s", receiver) as sink:
        store(sink, 1, *range(1, 31))
        assert sink.wait_empty()
        counters = sink.counters()["there"]
        assert (counters.dropped, counters.written) == (len(poison), 30 - len(poison))
        assert counters.dropped_packets == sum(int(name[1:]) for name in poison)
        store(sink, 2, 31)
        assert sink.wait_empty()
    wanted = [f"n{number}" for number in range(1, 32) if f"n{number}" not in poison]
    assert list(dict.fromkeys(receiver.taken)) == wanted
    assert sum(receiver.losses) == len(poison)


def test_a_receiver_that_refuses_everything_loses_nothing(tmp_path: Path) -> None:
    """A wrong setting of the receiver must not empty the spool."""
    numbers = range(1, 31)
    receiver = Receiver(poison=[f"n{number}" for number in numbers])
    rounds = threading.Semaphore(0)

    def between(low: float, high: float) -> float:
        rounds.release()
        return 0 * (low + high)

    with sink_to(tmp_path / "s", receiver, Backoff(between=between)) as sink:
        store(sink, 1, *numbers)
        for _ in range(3):
            rounds.acquire()
        counters = sink.counters()["there"]
        assert (counters.dropped, counters.pending, counters.written) == (0, 30, 0)
        receiver.poison.clear()
        assert sink.wait_empty()
    # A probe that was taken comes again in its turn.
    assert set(receiver.taken) == {f"n{number}" for number in numbers}


def test_a_full_spool_is_told_downstream(tmp_path: Path) -> None:
    """What arrives and what is told as lost is what was stored, and the counters agree."""
    receiver = Receiver()
    receiver.down = True
    spool = Spool(tmp_path / "s", max_bytes=65536)
    sink = SpooledSink(spool, receiver, node_id="n", name="there", backoff=no_wait())
    n_periods = 600
    for epoch in range(1, n_periods + 1):
        store(sink, epoch, epoch)
    receiver.down = False
    store(sink, n_periods + 1, n_periods + 1)
    assert sink.wait_empty()
    counters = sink.counters()["there"]
    sink.close()
    assert len(receiver.taken) + sum(receiver.losses) == n_periods + 1
    assert counters.dropped == sum(receiver.losses) > 0
    assert counters.written == len(receiver.taken)


class Held(Receiver):
    """A receiver whose first attempts wait, each until the test lets it end."""

    def __init__(self, attempts: int, *script: Exception | None) -> None:
        super().__init__(*script)
        self.held = attempts
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def ship(self, records: Sequence[Record]) -> bytes:
        """Wait first."""
        if self.held:
            self.held -= 1
            self.entered.release()
            assert self.let_go.acquire(timeout=60)
        return super().ship(records)


@pytest.mark.parametrize(
    "outcome",
    [None, ConnectionRefusedError(111, "Connection refused"), NotTaken("400", refused=True)],
    ids=["arrives", "fails", "refused"],
)
def test_what_is_being_shipped_is_decided_by_its_outcome(
    tmp_path: Path, outcome: Exception | None
) -> None:
    """A spool that overflows meanwhile reports as lost what does not arrive, and nothing else."""
    receiver = Held(1, outcome)
    spool = Spool(tmp_path / "s", max_bytes=65536)
    sink = SpooledSink(spool, receiver, node_id="n", name="there", backoff=no_wait())
    store(sink, 1, 1)
    assert receiver.entered.acquire(timeout=60)
    n_periods = 1000
    for epoch in range(2, n_periods + 1):
        store(sink, epoch, epoch)
    receiver.let_go.release()
    assert sink.wait_empty()
    counters = sink.counters()["there"]
    sink.close()
    # A probe that was taken comes again in its turn.
    arrived = set(receiver.taken)
    assert "n1" in arrived
    assert len(arrived) + sum(receiver.losses) == n_periods
    assert counters.dropped == sum(receiver.losses) > 0
    assert counters.written == len(arrived)


@pytest.mark.parametrize("outcome", [None, ConnectionRefusedError(111, "Connection refused")])
def test_a_period_that_needs_all_room_drops_even_what_is_being_shipped(
    tmp_path: Path, outcome: Exception | None
) -> None:
    """Its segment is gone; what arrives is not reported as lost, what fails is."""
    receiver = Held(1, outcome)
    spool = Spool(tmp_path / "s", max_bytes=65536)
    sink = SpooledSink(spool, receiver, node_id="n", name="there", backoff=no_wait())
    store(sink, 1, 1)
    assert receiver.entered.acquire(timeout=60)
    for epoch in range(2, 100):
        store(sink, epoch, epoch)
    store(sink, 100, *range(100, 275))
    dropped = spool.counters().dropped.messages
    assert dropped > 80  # without the one in hand
    receiver.let_go.release()
    assert sink.wait_empty()
    store(sink, 101, 275)
    assert sink.wait_empty()
    counters = sink.counters()["there"]
    sink.close()
    assert ("n1" in receiver.taken) == (outcome is None)
    assert counters.dropped == sum(receiver.losses) == dropped + (outcome is not None)
    assert len(receiver.taken) + counters.dropped == 275


def test_a_batch_whose_passing_failed_is_not_shipped_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the process lives, a cursor that cannot be saved costs no duplicate."""
    receiver = Receiver()
    failures = [OSError(5, "Input/output error")] * 3
    advance: Callable[..., None] = Spool.advance

    def failing(self: Spool, *args: object, **kwargs: object) -> None:
        if failures:
            raise failures.pop()
        advance(self, *args, **kwargs)

    monkeypatch.setattr(Spool, "advance", failing)
    with sink_to(tmp_path / "s", receiver) as sink:
        store(sink, 1, 1, 2)
        assert sink.wait_empty()
        assert sink.counters()["there"].errors == 3
    assert receiver.taken == ["n1", "n2"]


def test_a_shipper_has_its_note_saved(tmp_path: Path) -> None:
    """What it returns comes back before the next batch, also after a restart."""
    receiver = Receiver()
    for epoch in (1, 2):
        with sink_to(tmp_path / "s", receiver) as sink:
            store(sink, epoch, epoch)
            assert sink.wait_empty()
    assert [receiver.prepared[0], receiver.prepared[-1]] == [b"", b"1"]
