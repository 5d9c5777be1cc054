"""netlog.spool: whole periods, in order, within a bound, whatever the disk does."""

import contextlib
import errno
import json
import os
import stat
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog.errors import StateError
from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool import Record, Spool

METER = b"0123456789abcdef"
MAX_BYTES = 65536
"""The least that a spool can have; its segments are then of 6.5 KiB."""


@contextlib.contextmanager
def spool_in(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[Spool]:
    """An open spool."""
    spool = Spool(path, max_bytes=max_bytes, node_id="n")
    try:
        yield spool
    finally:
        spool.close()


def store(spool: Spool, epoch: int, *payloads: bytes, meter: bytes = METER) -> None:
    """Store a period of these messages, of 2 packets and 100 bytes each."""
    assert spool.begin(PeriodId(meter, epoch))
    for payload in payloads:
        spool.append(payload, 2, 100)
    spool.commit()


def take(spool: Spool) -> list[Record]:
    """Read everything, and pass it."""
    records = []
    while batch := spool.read(3, 1 << 20):
        records += batch
        spool.advance(batch[-1])
    return records


def segments(path: Path) -> list[Path]:
    """The files of the segments."""
    return sorted(path.glob("*.segment"))


def test_what_is_committed_comes_out_in_order(tmp_path: Path) -> None:
    """Each record has what was given, one proc_id, and a proc_seq without gaps from 1."""
    with spool_in(tmp_path / "s") as spool:
        store(spool, 1, b"a", b"b")
        store(spool, 2, b"c")
        records = take(spool)
        assert [record.payload for record in records] == [b"a", b"b", b"c"]
        assert [record.proc_seq for record in records] == [1, 2, 3]
        assert len({record.proc_id for record in records}) == 1
        assert {(record.packets, record.n_bytes) for record in records} == {(2, 100)}
        assert records[0].client_time_ns <= records[2].client_time_ns
        assert take(spool) == []


def test_only_what_is_committed_can_be_read(tmp_path: Path) -> None:
    """Before the commit, and after an abort, there is nothing; no number is used up."""
    with spool_in(tmp_path / "s") as spool:
        spool.begin(PeriodId(METER, 1))
        spool.append(b"a", 1, 1)
        assert spool.read(9, 999) == []
        assert spool.counters().pending == 0
        spool.abort()
        spool.begin(PeriodId(METER, 1))
        spool.append(b"forgotten", 1, 1)
        store(spool, 1, b"b")
        assert [(record.payload, record.proc_seq) for record in take(spool)] == [(b"b", 1)]
        with pytest.raises(StateError):
            spool.append(b"c", 1, 1)
        with pytest.raises(StateError):
            spool.commit()


def test_a_period_is_stored_once(tmp_path: Path) -> None:
    """A committed epoch and those before are refused, also when the records are long gone."""
    path = tmp_path / "s"
    other = b"another meter id"
    with spool_in(path) as spool:
        store(spool, 7, b"a" * 5000)
        for epoch in range(1, 9):
            store(spool, epoch, b"b" * 5000, meter=other)
        take(spool)
        assert len(segments(path)) == 1
    for _ in range(2):
        with spool_in(path) as spool:
            assert not spool.begin(PeriodId(METER, 7))
            assert not spool.begin(PeriodId(METER, 6))
            assert not spool.begin(PeriodId(other, 8))
            assert spool.begin(PeriodId(METER, 8))
            assert spool.begin(PeriodId(b"x" * 16, 1))


def test_the_last_meters_are_known(tmp_path: Path) -> None:
    """64 of them; the one heard of longest ago is forgotten."""
    with spool_in(tmp_path / "s") as spool:
        for number in range(65):
            store(spool, 1, meter=b"%016d" % number)
    with spool_in(tmp_path / "s") as spool:
        assert spool.begin(PeriodId(b"%016d" % 0, 1))
        assert not any(spool.begin(PeriodId(b"%016d" % number, 1)) for number in range(1, 65))


def test_what_was_read_but_not_passed_comes_again(tmp_path: Path) -> None:
    """After reopening, with the same identity; what was passed does not; the note is there."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        assert spool.note == b""
        store(spool, 1, b"a", b"b", b"c")
        first = spool.read(9, 999)
        assert spool.read(9, 999) == first
        spool.advance(first[0], b"a note")
    with spool_in(path) as spool:
        again = spool.read(9, 999)
        assert [record.payload for record in again] == [b"b", b"c"]
        assert [(r.proc_id, r.proc_seq) for r in again] == [
            (r.proc_id, r.proc_seq) for r in first[1:]
        ]
        assert spool.note == b"a note"
        store(spool, 2, b"d")
        (new,) = spool.read(9, 999)[2:]
        assert (new.proc_seq, new.proc_id != first[0].proc_id) == (1, True)
        with pytest.raises(ValueError, match="at most 64"):
            spool.advance(new, b"x" * 65)
        spool.advance(new, b"x" * 64)
        assert spool.note == b"x" * 64


def test_a_batch_is_bounded_but_never_empty(tmp_path: Path) -> None:
    """By records and by bytes; one record comes whatever its size."""
    with spool_in(tmp_path / "s", 8 << 20) as spool:
        store(spool, 1, b"a" * 10, b"b" * 10, b"c" * 10, b"d" * (2 << 20))
        assert len(spool.read(2, 999)) == 2
        assert len(spool.read(9, 29)) == 2
        assert len(spool.read(9, 1)) == 1
        spool.advance(spool.read(3, 999)[-1])
        assert [len(record.payload) for record in spool.read(9, 1)] == [2 << 20]


def test_passed_segments_are_removed(tmp_path: Path) -> None:
    """What is left after reading all is one segment."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        for epoch in range(1, 9):
            store(spool, epoch, b"a" * 5000)
        assert len(segments(path)) > 4
        before = spool.counters()
        assert (before.pending, before.age_s > 0) == (8, True)
        assert before.spool_bytes == sum(found.stat().st_size for found in path.iterdir())
        assert len(take(spool)) == 8
        assert len(segments(path)) == 1
        after = spool.counters()
        assert (after.pending, after.age_s) == (0, 0.0)
        assert after.spool_bytes == sum(found.stat().st_size for found in path.iterdir())


def test_a_full_spool_gives_up_the_oldest_and_says_so(tmp_path: Path) -> None:
    """It stays in its bound; what is lost is told with the next commit, in order, exactly."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        for epoch in range(1, 31):
            store(spool, epoch, b"%d" % epoch + b"x" * 3000)
            assert sum(found.stat().st_size for found in path.iterdir()) <= MAX_BYTES
        lost = spool.counters().dropped
        records = take(spool)
        kept = [int(r.payload.rstrip(b"x")) for r in records if not r.loss]
        assert kept == list(range(30 - len(kept) + 1, 31))
        told = [record for record in records if record.loss]
        total = sum((record.loss for record in told), Loss())
        assert total == lost == Loss(30 - len(kept), 2 * (30 - len(kept)), 100 * (30 - len(kept)))
        assert json.loads(told[0].payload)["dropped"]["messages"] == told[0].loss.messages
        assert json.loads(told[0].payload)["nodeId"] == "n"
        seqs = [record.proc_seq for record in records]
        assert seqs == sorted(set(seqs))


def test_a_loss_is_not_forgotten_by_a_restart(tmp_path: Path) -> None:
    """What went in a period that was never committed is told by the next process, once."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        for epoch in range(1, 9):
            store(spool, epoch, b"x" * 5000)
        spool.begin(PeriodId(METER, 9))
        for _ in range(4):
            spool.append(b"x" * 5000, 1, 1)
        spool.abort()
        lost = spool.counters().dropped
        assert lost
    for epoch in (20, 21):
        with spool_in(path) as spool:
            assert spool.counters().dropped == (lost if epoch == 20 else Loss())
            store(spool, epoch, b"y")
    with spool_in(path) as spool:
        assert sum((record.loss for record in take(spool)), Loss()) == lost


def test_a_telling_that_is_lost_is_told_again(tmp_path: Path) -> None:
    """However often the spool overflows, what arrives and what is told adds up."""
    with spool_in(tmp_path / "s") as spool:
        for epoch in range(1, 200):
            store(spool, epoch, b"x" * 5000)
        records = take(spool)
        arrived = sum(not record.loss for record in records)
        assert arrived + sum(record.loss.messages for record in records) == 199


def test_the_reader_goes_on_behind_a_segment_that_went(tmp_path: Path) -> None:
    """Also if it is inside it; what it had in its hands is told as lost at most."""
    with spool_in(tmp_path / "s") as spool:
        store(spool, 1, *[b"a" * 100] * 9)
        first = spool.read(3, 1 << 20)
        spool.advance(first[-1])
        second = spool.read(3, 1 << 20)
        for epoch in range(2, 40):
            store(spool, epoch, b"x" * 5000)
        spool.advance(second[-1])
        store(spool, 40, b"z")
        rest = take(spool)
        assert rest[-1].payload == b"z"
        arrived = 6 + sum(not record.loss for record in rest)
        assert 0 <= arrived + sum(r.loss.messages for r in rest) - (9 + 38 + 1) <= 3


@pytest.mark.parametrize("size", [MAX_BYTES, 10 * MAX_BYTES])
def test_a_period_greater_than_the_spool_is_a_loss(tmp_path: Path, size: int) -> None:
    """It counts as stored, so that it is not offered for ever."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a")
        store(spool, 2, b"x" * 30000, b"y" * size, b"z")
        assert not spool.begin(PeriodId(METER, 2))
        assert sum(found.stat().st_size for found in path.iterdir()) <= MAX_BYTES
    with spool_in(path) as spool:
        assert not spool.begin(PeriodId(METER, 2))
        store(spool, 3, b"b")
        records = take(spool)
        assert records[-1].payload == b"b"
        loss = sum((record.loss for record in records), Loss())
        assert loss.messages + sum(not record.loss for record in records) == 5


def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    """Wherever the file ends behind the last commit, what was committed is there, and no more."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"first")
        (segment,) = segments(path)
        whole = segment.stat().st_size
        committed = (path / "committed").read_bytes()
        store(spool, 2, b"second", b"third")
    data = segment.read_bytes()
    for size in range(whole, len(data)):
        segment.write_bytes(data[:size])
        (path / "committed").write_bytes(committed)
        with spool_in(path) as spool:
            assert [record.payload for record in spool.read(9, 999)] == [b"first"]
            assert segment.stat().st_size == whole
            assert spool.begin(PeriodId(METER, 2))
            assert spool.counters().dropped == Loss()


@pytest.mark.parametrize("last", [True, False], ids=["last", "middle"])
def test_damage_ends_a_segment_and_no_more(tmp_path: Path, last: bool) -> None:  # noqa: FBT001
    """Whichever byte is wrong: nothing raises, what is lost is told, the rest comes."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        for epoch in range(1, 4 if last else 7):
            store(spool, epoch, b"%d" % epoch + b"x" * (1500 if epoch < 4 else 5000))
    segment = segments(path)[0]
    assert (segment == segments(path)[-1]) == last
    data = segment.read_bytes()
    images = {found: found.read_bytes() for found in path.iterdir()}
    n_stored = 3 if last else 6
    last_commit = len(data) - 52 - 80
    for at in [*range(0, 400, 7), *range(400, last_commit, 97)]:
        for found in path.iterdir():
            found.unlink()
        for found, image in images.items():
            found.write_bytes(image)
            found.chmod(0o600)
        segment.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        spool = Spool(path, max_bytes=MAX_BYTES, node_id="n")
        store(spool, 100, b"new")
        records = take(spool)
        spool.close()
        names = [record.payload for record in records if not record.loss]
        loss = sum((record.loss for record in records), Loss())
        assert names[-1] == b"new"
        assert len(names) - 1 + loss.messages == n_stored
        assert loss == Loss(loss.messages, 2 * loss.messages, 100 * loss.messages)
        assert loss.messages > 0
        with spool_in(path) as again:
            store(again, 101, b"newer")
            assert [record.payload for record in take(again)] == [b"newer"]


def test_damage_that_comes_while_the_spool_is_open(tmp_path: Path) -> None:
    """The reader goes on with the next segment, and the loss is told."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a" * 100, b"b" * 100, b"c" * 100)
        (segment,) = segments(path)
        data = segment.read_bytes()
        with segment.open("r+b") as file:
            file.seek(data.index(b"bbb"))
            file.write(b"B")
        assert [record.payload[:1] for record in take(spool)] == [b"a"]
        store(spool, 2, b"d")
        records = take(spool)
        assert [record.payload for record in records if not record.loss] == [b"d"]
        assert sum((r.loss for r in records), Loss()) == Loss(2, 4, 200)


def test_a_removed_segment_is_a_loss(tmp_path: Path) -> None:
    """Somebody's rm(1) is seen, counted and survived, whether the spool is open or not."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        for epoch in range(1, 7):
            store(spool, epoch, b"x" * 5000)
        segments(path)[2].unlink()
        store(spool, 7, b"y")
    segments(path)[0].unlink()
    with spool_in(path) as spool:
        store(spool, 8, b"z")
        records = take(spool)
        assert sum(not record.loss for record in records) == 6
        assert sum((r.loss for r in records), Loss()) == Loss(2, 4, 200)


@pytest.mark.parametrize("what", ["directory", "files", "segments", "cursor"])
def test_what_is_removed_under_an_open_spool_comes_back(tmp_path: Path, what: str) -> None:
    """The next period is stored again; what was in the files is told as lost."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a", b"b", b"c")
        spool.advance(spool.read(1, 1)[0], b"note")
        for found in list(path.iterdir()):
            if what in ("directory", "files") or what == found.name or what in found.suffix + "s":
                found.unlink()
        if what == "directory":
            path.rmdir()
        elif what != "cursor":
            with pytest.raises(OSError, match="was removed"):
                store(spool, 2, b"d")
        store(spool, 2, b"d")
        records = take(spool)
        store(spool, 3, b"e")
        records += take(spool)
        payloads = [record.payload for record in records if not record.loss]
        loss = sum((record.loss for record in records), Loss())
        assert payloads == ([b"b", b"c", b"d", b"e"] if what == "cursor" else [b"d", b"e"])
        assert loss == (Loss() if what == "cursor" else Loss(2, 4, 200))
    with spool_in(path) as spool:
        assert not spool.begin(PeriodId(METER, 3))
        assert spool.read(9, 99) == []
        assert spool.counters().dropped == Loss()


def test_a_damaged_cursor_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was shipped comes again, with the same identity, and a word of it in the log."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a", b"b")
        before = spool.read(9, 99)
        spool.advance(before[0])
    (path / "cursor").write_bytes(b"x" * 8192)
    with spool_in(path) as spool:
        assert [(r.proc_id, r.proc_seq) for r in spool.read(9, 99)] == [
            (r.proc_id, r.proc_seq) for r in before
        ]
        assert spool.counters().dropped == Loss()
    assert "the cursor was damaged" in caplog.text


def test_half_a_cursor_is_the_one_before(tmp_path: Path) -> None:
    """The slot that was being written when the machine stopped does no harm."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a", b"b", b"c")
        records = spool.read(9, 99)
        for record in records:
            spool.advance(record)
    data = bytearray((path / "cursor").read_bytes())
    slot = max((0, 4096), key=lambda at: int.from_bytes(data[at + 16 : at + 24], "little"))
    data[slot + 40 : slot + 80] = b"x" * 40
    copy = 4096 - slot + 2048
    data[copy : copy + 512] = bytes(512)  # It is written when the slot is durable.
    (path / "cursor").write_bytes(data)
    with spool_in(path) as spool:
        assert [record.payload for record in spool.read(9, 99)] == [b"c"]


def test_a_spool_is_private_and_has_one_owner(tmp_path: Path) -> None:
    """0700 and 0600; a second opening is EBUSY; a directory open to others is refused."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(found.stat().st_mode) for found in path.iterdir()} == {0o600}
        with pytest.raises(OSError, match="another process has the spool open") as caught:
            Spool(path, max_bytes=MAX_BYTES)
        assert caught.value.errno == errno.EBUSY
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(OSError, match="0700"):
        Spool(tmp_path / "open", max_bytes=MAX_BYTES)


@pytest.mark.parametrize("name", ["cursor", "00000000000000000001.segment"])
def test_no_link_is_followed(tmp_path: Path, name: str) -> None:
    """A symbolic link in the place of a file, or of the directory, is an error."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a")
    victim = tmp_path / "victim"
    (path / name).rename(victim)
    (path / name).symlink_to(victim)
    before = victim.read_bytes()
    with pytest.raises(OSError, match="symbolic links"):
        Spool(path, max_bytes=MAX_BYTES)
    assert victim.read_bytes() == before
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        Spool(tmp_path / "link", max_bytes=MAX_BYTES)


def test_a_fifo_in_the_place_of_a_segment_does_not_hang(tmp_path: Path) -> None:
    """What is no regular file is refused at once."""
    path = tmp_path / "s"
    path.mkdir(mode=0o700)
    os.mkfifo(path / "00000000000000000001.segment", 0o600)
    with pytest.raises(OSError, match="not a regular file"):
        Spool(path, max_bytes=MAX_BYTES)


def test_failed_openings_leak_nothing(tmp_path: Path) -> None:
    """No descriptor, and no lock."""
    path = tmp_path / "s"
    with spool_in(path):
        pass
    (path / "00000000000000000001.segment").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(OSError, match="directory"):
            Spool(path, max_bytes=MAX_BYTES)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_takes_nothing_of_a_period(tmp_path: Path) -> None:
    """On ENOSPC everything since begin is cut off, and the next period goes on from there."""
    program = textwrap.dedent(f"""
        import resource, signal
        from netlog.sinks.base import PeriodId
        from netlog.spool import Spool
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = Spool({str(tmp_path / "s")!r}, max_bytes=1 << 20)
        def store(epoch, *payloads):
            assert spool.begin(PeriodId(b"0123456789abcdef", epoch))
            for payload in payloads:
                spool.append(payload, 1, 1)
            spool.commit()
        store(1, b"a" * 9000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12000, resource.RLIM_INFINITY))
        for epoch, payloads in ((2, [b"b" * 9000]), (2, [b"c", b"d" * 9000]), (3, [b"e" * 2000])):
            try:
                store(epoch, *payloads)
            except OSError as error:
                print(epoch, error.errno)
                try:
                    spool.commit()
                except OSError as again:
                    print("again", again.errno)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        store(4, b"f" * 9000)
        records = spool.read(9, 1 << 20)
        print([(record.payload[:1], record.proc_seq) for record in records])
        print(spool.counters().dropped.messages)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "2 28", "again 28", "2 28", "again 28", "[(b'a', 1), (b'e', 2), (b'f', 3)]", "0",
    ]  # fmt: skip


def test_a_commit_that_is_not_synced_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the period is there; it can be offered again."""
    with spool_in(tmp_path / "s") as spool:
        store(spool, 1, b"a")

        def failing(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing)
            with pytest.raises(OSError, match="Input/output error"):
                store(spool, 2, b"b")
            with pytest.raises(OSError, match="Input/output error"):
                spool.advance(spool.read(1, 1)[0])
        assert [record.payload for record in spool.read(9, 99)] == [b"a"]
        store(spool, 2, b"c")
        assert [record.payload for record in take(spool)] == [b"a", b"c"]


def test_the_cursor_moves_on_a_full_disk(tmp_path: Path) -> None:
    """The reader frees room where none is left: no new block is needed for that."""
    program = textwrap.dedent(f"""
        import resource, signal
        from netlog.sinks.base import PeriodId
        from netlog.spool import Spool
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = Spool({str(tmp_path / "s")!r}, max_bytes=1 << 20)
        spool.begin(PeriodId(b"0123456789abcdef", 1))
        spool.append(b"a", 1, 1)
        spool.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        spool.advance(spool.read(1, 1)[0], b"note")
        print(spool.counters().pending)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


def test_waiting_ends_with_a_commit_or_a_wake(tmp_path: Path) -> None:
    """The reader's thread sleeps until there is something, or until it is told to look."""
    with spool_in(tmp_path / "s") as spool:
        seen: list[bool] = []
        reader = threading.Thread(target=lambda: seen.append(spool.wait(None)))
        reader.start()
        store(spool, 1, b"a")
        reader.join()
        assert seen == [True]
        take(spool)
        spool.wake()
        assert not spool.wait(None)
        assert not spool.wait(0.001)
        assert spool.wait_empty(None)


def test_a_reader_beside_a_writer_sees_each_record_once(tmp_path: Path) -> None:
    """Two threads, many periods, segments that come and go."""
    with spool_in(tmp_path / "s", 1 << 20) as spool:
        n_periods = 300

        def write() -> None:
            for epoch in range(1, n_periods + 1):
                store(spool, epoch, b"%d" % epoch)

        writer = threading.Thread(target=write)
        writer.start()
        names: list[int] = []
        while len(names) < n_periods:
            assert spool.wait(None)
            for record in spool.read(7, 1 << 20):
                names.append(int(record.payload))
                spool.advance(record)
        writer.join()
        assert names == list(range(1, n_periods + 1))


def test_a_reader_beside_a_writer_that_overflows(tmp_path: Path) -> None:
    """Whichever is faster: what arrived and what was told is what was stored, but for a batch."""
    with spool_in(tmp_path / "s") as spool:
        n_periods, batch = 1500, 3
        done = threading.Event()

        def write() -> None:
            for epoch in range(1, n_periods + 1):
                store(spool, epoch, b"%d" % epoch + b"x" * 3000)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        arrived: set[int] = set()
        told = Loss()
        while not done.is_set() or spool.counters().pending:
            spool.wait(0.1)
            records = spool.read(batch, 1 << 20)
            told += sum((record.loss for record in records), Loss())
            messages = [record.payload for record in records if not record.loss]
            arrived.update(int(payload.rstrip(b"x")) for payload in messages)
            if records:
                spool.advance(records[-1])
        writer.join()
        store(spool, n_periods + 1, b"%d" % (n_periods + 1))
        told += sum((record.loss for record in take(spool)), Loss())
        assert 0 <= len(arrived) + 1 + told.messages - (n_periods + 1) <= batch
        assert spool.counters().pending == 0


def test_a_greater_bound_can_become_a_smaller_one(tmp_path: Path) -> None:
    """What is too much then goes with the next message, and is told."""
    path = tmp_path / "s"
    with spool_in(path, 4 << 20) as spool:
        for epoch in range(1, 200):
            store(spool, epoch, b"x" * 10000)
    with spool_in(path) as spool:
        store(spool, 200, b"y")
        assert spool.counters().spool_bytes <= MAX_BYTES
        records = take(spool)
        arrived = sum(not record.loss for record in records)
        assert arrived + sum(record.loss.messages for record in records) == 200


def test_a_spool_of_another_version_is_left_alone(tmp_path: Path) -> None:
    """It says so, and changes nothing; its checksum tells it from damage."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a")
    (segment,) = segments(path)
    head = struct.pack("<8sI", b"nlspool\x1a", 9), struct.pack("<I", 24) + b"new!"
    crc = zlib.crc32(head[1], zlib.crc32(head[0]))
    data = head[0] + struct.pack("<I", crc) + head[1] + b"what a later netlog writes" * 9
    segment.write_bytes(data)
    with pytest.raises(ValueError, match=r"another version of netlog \(format 9\)"):
        Spool(path, max_bytes=MAX_BYTES)
    assert segment.read_bytes() == data


def test_a_spool_of_format_1_is_read(tmp_path: Path) -> None:
    """What waits in it is shipped, and it goes on."""
    path = tmp_path / "s"
    with spool_in(path) as spool:
        store(spool, 1, b"a")
    (segment,) = segments(path)
    fields = struct.pack("<QQ7QBxH4x", 1, 5, *[0] * 7, 1, 1) + struct.pack("<16sQ", b"m" * 16, 9)
    head = struct.pack("<8sII", b"nlspool\x1a", 1, zlib.crc32(fields)) + fields
    records, at = b"", len(head)
    commit = struct.pack("<16sQ7Q", METER, 1, 1, 1, 2, 100, 0, 0, 0)
    for kind, payload, seq, packets, n_bytes in [(1, b"old", 1, 2, 100), (3, commit, 0, 0, 0)]:
        rest = struct.pack("<IBxxxIQQQQ", len(payload), kind, 7, seq, 5, packets, n_bytes)
        place = struct.pack("<QQ", 1, at + len(records))
        records += b"\x91nR\x1a" + struct.pack("<I", zlib.crc32(rest + place + payload))
        records += rest + payload
    segment.write_bytes(head + records)
    for name in ("cursor", "committed"):
        (path / name).unlink()
    with spool_in(path) as spool:
        assert not spool.begin(PeriodId(b"m" * 16, 9))
        store(spool, 2, b"new")
        assert [record.payload for record in take(spool)] == [b"old", b"new"]
        assert spool.counters().dropped == Loss()
    segment.write_bytes(head[:8] + b"\3" + head[9:] + records)
    with spool_in(path) as spool:
        assert take(spool) == [], "damage, not another version"


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """Before anything is made."""
    with pytest.raises(ValueError, match="at least 65536"):
        Spool(tmp_path / "s", max_bytes=1000)
    assert not (tmp_path / "s").exists()
    with spool_in(tmp_path / "s") as spool, pytest.raises(ValueError, match="16 bytes"):
        spool.begin(PeriodId(b"short", 1))
