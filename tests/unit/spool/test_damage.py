"""Damage to a spool, anywhere: it opens, ships the rest, and reports exactly what is lost."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlog.model.loss import Loss
from netlog.model.periods import PeriodId
from netlog.spool import Record, Spool

METER = b"0123456789abcdef"
MAX_BYTES = 65536


def open_spool(path: Path) -> Spool:
    """The spool there."""
    return Spool(path, max_bytes=MAX_BYTES, node_id="n")


def store(spool: Spool, epoch: int, *payloads: bytes) -> None:
    """Store a period of these messages, of 2 packets and 100 bytes each."""
    assert spool.begin(PeriodId(METER, epoch))
    for payload in payloads:
        spool.append(payload, 2, 100)
    spool.commit()


def take(spool: Spool) -> list[Record]:
    """Read and pass everything."""
    records = []
    while batch := spool.read(3, 1 << 20):
        records += batch
        spool.advance(batch[-1])
    return records


def identity(record: Record) -> tuple[int, int]:
    """By which a receiver knows a record that it has."""
    return record.proc_id, record.proc_seq


@dataclass(frozen=True)
class Stored:
    """The files of a spool in which messages wait, and what was shipped before."""

    files: dict[str, bytes]
    shipped: frozenset[tuple[int, int]]
    waiting: frozenset[bytes]
    epoch: int
    every: frozenset[bytes]

    def write(self, path: Path) -> None:
        """Make the directory."""
        path.mkdir(mode=0o700, exist_ok=True)
        for found in path.iterdir():
            found.unlink()
        for name, data in self.files.items():
            (path / name).write_bytes(data)
            (path / name).chmod(0o600)

    def check(self, path: Path, *, again: bool = False) -> Loss:
        """Open it and ship all: each message arrives or is told, and nothing is told that arrived.

        Args:
            path: of the directory, with damage in it.
            again: whether shipped messages may come again.

        Returns:
            What was told as lost.
        """
        spool = open_spool(path)
        try:
            assert not spool.begin(PeriodId(METER, self.epoch)), "a period is stored once"
            store(spool, self.epoch + 1, b"new")
            records = take(spool)
            lost = spool.counters().dropped
        finally:
            spool.close()
        assert len(set(map(identity, records))) == len(records), "each comes once"
        new = [record for record in records if identity(record) not in self.shipped]
        assert again or new == records
        loss = sum((record.loss for record in new), Loss())
        came = {record.payload for record in new if not record.loss}
        assert came <= self.waiting | {b"new"}
        assert b"new" in came
        n_lost = len(self.waiting - came)
        assert loss == Loss(n_lost, 2 * n_lost, 100 * n_lost)
        assert lost == loss
        spool = open_spool(path)
        try:
            store(spool, self.epoch + 2, b"newer")
            assert [record.payload for record in take(spool)] == [b"newer"]
        finally:
            spool.close()
        return loss


@pytest.fixture(params=["one segment", "three segments", "split period", "gap"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    """A spool of a few messages, some of which are shipped."""
    path = tmp_path / "model"
    spool = open_spool(path)
    names = iter(b"%d" % number for number in range(100))
    shipped, waiting, every, epoch = [], [], set(), 0

    def period(*sizes: int) -> None:
        nonlocal epoch
        epoch += 1
        payloads = [next(names) + b"x" * size for size in sizes]
        waiting.extend(payloads)
        every.update(payloads)
        store(spool, epoch, *payloads)

    period(4, 0, 4)
    period(2)
    for _ in range(2):
        (record,) = spool.read(1, 1 << 20)
        spool.advance(record, b"note")
        shipped.append(identity(record))
        waiting.pop(0)
    if request.param == "three segments":
        period(6000, 1)
        period(6000, 1)
        period(3)
    elif request.param == "split period":
        period(6000, 4, 6000, 5, 6000, 1)
    elif request.param == "gap":
        # Greater than the spool: it is told when the next period is stored.
        period(30000, 30000, 1)
        records = take(spool)
        assert sum(record.loss.messages or 1 for record in records) == len(waiting)
        shipped.extend(map(identity, records))
        waiting.clear()
        period(1, 2)
    spool.close()
    files = {found.name: found.read_bytes() for found in path.iterdir()}
    return Stored(files, frozenset(shipped), frozenset(waiting), epoch, frozenset(every))


def interesting(data: bytes) -> Iterator[int]:
    """The bytes to damage: all, but only some of long runs of one value."""
    for at, byte in enumerate(data):
        if at < 4 or at % 911 == 0 or any(other != byte for other in data[at - 4 : at]):
            yield at


BITS = [pytest.param(1 << bit, marks=pytest.mark.soak, id=f"bit {bit}") for bit in range(8)]


@pytest.mark.parametrize("mask", [None, *BITS])
def test_a_wrong_byte_anywhere(stored: Stored, tmp_path: Path, mask: int | None) -> None:
    """Whichever byte of whichever file has whichever bit wrong: the books balance."""
    path = tmp_path / "damaged"
    n_lost = 0
    for name, data in stored.files.items():
        for at in interesting(data):
            stored.write(path)
            flip = mask or 1 << at % 8
            (path / name).write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            n_lost += stored.check(path).messages
    assert n_lost > 0


def test_an_end_anywhere(stored: Stored, tmp_path: Path) -> None:
    """Wherever a file was cut off."""
    path = tmp_path / "damaged"
    for name, data in stored.files.items():
        for at in interesting(data):
            stored.write(path)
            (path / name).write_bytes(data[:at])
            stored.check(path, again=name == "cursor")


def test_a_file_is_gone(stored: Stored, tmp_path: Path) -> None:
    """Whichever it was."""
    path = tmp_path / "damaged"
    for name in stored.files:
        stored.write(path)
        (path / name).unlink()
        stored.check(path, again=name == "cursor")


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x91nR\x1a", b"nlspool\x1a\1\0\0\0"], ids=repr)
def test_a_file_is_garbage(stored: Stored, tmp_path: Path, fill: bytes) -> None:
    """From anywhere to its end."""
    path = tmp_path / "damaged"
    for name, data in stored.files.items():
        for at in [0, 1, len(data) // 2, max(0, len(data) - 20)]:
            stored.write(path)
            garbage = (fill * len(data))[: len(data) - at]
            (path / name).write_bytes(data[:at] + garbage)
            stored.check(path, again=name == "cursor")


DAMAGE = st.tuples(
    st.sampled_from(["cursor", "committed", "spare", f"{1:020d}.segment", f"{2:020d}.segment"]),
    st.integers(0, 7000),
    st.integers(0, 300),
    st.binary(max_size=40),
)
"""A file, an offset, how many bytes are taken away there, and what stands there instead."""


@given(damage=st.lists(DAMAGE, min_size=1, max_size=5))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_to_many_files(
    stored: Stored, tmp_path: Path, damage: list[tuple[str, int, int, bytes]]
) -> None:
    """It opens, goes on, and nothing comes that was not stored."""
    path = tmp_path / "damaged"
    stored.write(path)
    for name, place, length, instead in damage:
        file = path / name
        data = file.read_bytes() if file.exists() else b""
        offset = place % (len(data) + 1)
        file.write_bytes(data[:offset] + instead + data[offset + length :])
    with contextlib.closing(open_spool(path)) as spool:
        store(spool, 1000, b"new")
        came = [record.payload for record in take(spool) if not record.loss]
        assert set(came) <= stored.every | {b"new"}
        assert came[-1] == b"new"
    with contextlib.closing(open_spool(path)) as spool:
        assert take(spool) == []
        assert spool.counters().dropped == Loss()


def test_a_file_with_a_number_of_no_segment_is_left_alone(tmp_path: Path) -> None:
    """A number that no head can hold is in no name that a spool gives."""
    path = tmp_path / "s"
    with contextlib.closing(open_spool(path)) as spool:
        store(spool, 1, b"a")
    strangers = [path / f"{number:020d}.segment" for number in (0, 1 << 63, 10**20 - 1)]
    for stranger in strangers:
        stranger.write_bytes(b"x")
    with contextlib.closing(open_spool(path)) as spool:
        store(spool, 2, b"b")
        assert [record.payload for record in take(spool)] == [b"a", b"b"]
    assert all(stranger.exists() for stranger in strangers)


def test_sums_beyond_64_bits_stay_at_the_greatest(tmp_path: Path) -> None:
    """The counts of a damaged meter are stored and shipped, and lock nothing."""
    path = tmp_path / "s"
    with contextlib.closing(open_spool(path)) as spool:
        for epoch in (1, 2, 3):
            assert spool.begin(PeriodId(METER, epoch))
            spool.append(b"%d" % epoch, 1 << 63, (1 << 64) + 5)
            spool.commit()
        assert [record.payload for record in take(spool)] == [b"1", b"2", b"3"]
    with contextlib.closing(open_spool(path)) as spool:
        store(spool, 4, b"4")
        assert [record.payload for record in take(spool)] == [b"4"]
