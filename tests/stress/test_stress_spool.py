"""netlog.spool: SIGKILL between any two lines loses nothing, doubles nothing and wedges nothing."""

import itertools
from pathlib import Path
from typing import Any

import msgspec

from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool import Record, Spool
from tests.stress.killing import Diary, in_files, killed_at, killed_at_call
from tests.support.soak import short_and_soak

WATCHED = (
    "cursor.py",
    "directory.py",
    "ledger.py",
    "reader.py",
    "record.py",
    "recovery.py",
    "segment.py",
    "spool.py",
    "writer.py",
)
"""Not the arithmetic: to be killed in that is to be killed in the line that calls it."""
METER = b"0123456789abcdef"
MAX_BYTES = 65536
"""Of which the spool makes segments of 6.5 KiB."""


def store(spool: Spool, diary: Diary, epoch: int, n_messages: int, n_bytes: int) -> None:
    """Store a period of that many messages."""
    if not spool.begin(PeriodId(METER, epoch)):
        diary.tell("had", epoch)
        return
    for number in range(n_messages):
        payload = b'{"id":%d,"x":"%s"}' % (100 * epoch + number, b"x" * n_bytes)
        spool.append(payload, epoch, 1000 * epoch + number)
    diary.tell("committing", epoch, n_messages)
    spool.commit()
    diary.tell("committed", epoch)


def told(record: Record) -> list[object]:
    """A record as the diary has it."""
    loss = record.loss
    name = 0 if loss else msgspec.json.decode(record.payload)["id"]
    return [
        record.proc_id,
        record.proc_seq,
        name,
        [loss.messages, loss.packets, loss.n_bytes],
    ]


def ship(spool: Spool, diary: Diary, max_records: int) -> bool:
    """Ship a batch: from the moment that the diary has it the other side does."""
    records = spool.read(max_records, 1 << 20)
    if not records:
        return False
    diary.tell("shipped", [told(record) for record in records])
    spool.advance(records[-1], b"%d" % records[-1].proc_seq)
    diary.tell("advanced", records[-1].proc_seq)
    return True


def work(path: Path, diary: Diary) -> None:
    """Something of all: small and great periods, one given up, a crash, a full spool."""
    spool = Spool(path, max_bytes=MAX_BYTES, node_id="n")
    store(spool, diary, 1, 2, 100)
    ship(spool, diary, 1)
    spool.begin(PeriodId(METER, 2))
    spool.append(b"{}", 1, 1)
    spool.append(b"x" * 8000, 1, 1)
    spool.abort()
    spool.begin(PeriodId(METER, 3))
    for _ in range(3):
        spool.append(b"x" * 4000, 1, 1)
    # As after a crash: what was begun lies there, and nobody holds the directory.
    spool._directory.close()  # noqa: SLF001 - a crash has no name in the public surface
    spool = Spool(path, max_bytes=MAX_BYTES, node_id="n")
    store(spool, diary, 3, 2, 22000)
    store(spool, diary, 3, 1, 10)
    store(spool, diary, 4, 1, 22000)  # the first goes
    ship(spool, diary, 1)
    store(spool, diary, 5, 3, 22000)  # more than there is room for
    store(spool, diary, 6, 1, 9000)
    while ship(spool, diary, 4):
        pass
    spool.close()


def check(path: Path, events: list[list[Any]]) -> None:
    """Open what was left, empty it, and see whether everything is accounted for."""
    sizes = {epoch: n for kind, epoch, *rest in events if kind == "committing" for n in rest}
    sure = {epoch for kind, epoch, *_ in events if kind == "committed"}
    shipped = [entry for kind, entries, *_ in events if kind == "shipped" for entry in entries]
    advanced = {entry for kind, entry, *_ in events if kind == "advanced"}
    spool = Spool(path, max_bytes=MAX_BYTES, node_id="n")
    assert spool.counters().spool_bytes == sum(found.stat().st_size for found in path.iterdir())
    for epoch in sizes:
        wanted = spool.begin(PeriodId(METER, epoch))
        assert not (wanted and epoch in sure), f"epoch {epoch} was committed"
        if not wanted:
            sure.add(epoch)
        spool.abort()
    if advanced:
        assert int(spool.note) >= 1
    later: list[list[Any]] = []
    after = Diary()
    while ship(spool, after, 5):
        pass
    store(spool, after, 1000, 1, 10)
    while ship(spool, after, 5):
        pass
    counters = spool.counters()
    assert counters.spool_bytes == sum(found.stat().st_size for found in path.iterdir())
    spool.close()
    assert counters.pending == 0
    later = [entry for kind, entries, *_ in after.read() if kind == "shipped" for entry in entries]
    names = [entry[2] for entry in later if entry[2]]
    assert names == sorted(set(names)), "in order, each once"
    account({**{epoch: sizes[epoch] for epoch in sure}, 1000: 1}, shipped, later)
    assert sum(found.stat().st_size for found in path.iterdir()) <= MAX_BYTES


def account(sizes: dict[int, int], shipped: list[list[Any]], later: list[list[Any]]) -> None:
    """What was shipped and what was told as lost is what was committed; twice only the same."""
    seen: dict[tuple[int, int], list[Any]] = {}
    for entry in shipped + later:
        identity = (entry[0], entry[1])
        assert seen.setdefault(identity, entry) == entry, "one identity, two records"
    names = [entry[2] for entry in seen.values() if entry[2]]
    assert len(names) == len(set(names)), "stored twice"
    total = Loss()
    for entry in seen.values():
        name, loss = entry[2], Loss(*entry[3])
        total += Loss(1, name // 100, 10 * (name // 100) * 100 + name % 100) if name else loss
    wanted = Loss()
    for epoch, n_messages in sizes.items():
        for number in range(n_messages):
            wanted += Loss(1, epoch, 1000 * epoch + number)
    assert total == wanted


@short_and_soak("step", 61, 5)
def test_killed_at_any_line_nothing_is_lost_or_doubled(fast_dir: Path, step: int) -> None:
    """What was committed is shipped or told as lost, once, wherever the process ended."""
    watched = in_files([f"netlog/spool/{name}" for name in WATCHED])
    # The next test has all system calls; what lies between two of them leaves the same files.
    for line in itertools.count(1, step):
        path, diary = fast_dir / str(line), Diary()
        came_through = not killed_at(line, watched, lambda: work(path, diary))  # noqa: B023
        check(path, diary.read())
        if came_through:
            break
    assert line > 1000


@short_and_soak("step", 7, 1)
def test_killed_at_any_system_call_nothing_is_lost_or_doubled(fast_dir: Path, step: int) -> None:
    """The same, before each call into the operating system in turn."""
    for call in itertools.count(1, step):
        path, diary = fast_dir / str(call), Diary()
        came_through = not killed_at_call(call, lambda: work(path, diary))  # noqa: B023
        check(path, diary.read())
        if came_through:
            break
    assert call > 100
