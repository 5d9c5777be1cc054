"""A damaged spool: what is left is read once and in order, and it takes what comes next.

An input is changes to the files of a good spool: which spool, and for each change the file, the
kind, the offset and a value.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fuzz.parsers.scratch import scratch_folder
from netlog.model.periods import PeriodId
from netlog.spool import Spool

MAX_BYTES = 1 << 20
CHANGE_BYTES = 8
NEW = b'{"new":1}'

_base = scratch_folder()


def _payload(number: int) -> bytes:
    return b'{"k":%d,"x":"%s"}' % (number, b"a" * (number * 977 % 3000))


def _make(name: str, max_bytes: int, periods: int, shipped: int) -> Path:
    """Make a good spool, some of it shipped, and a period that was not committed."""
    path = _base / name
    spool = Spool(path, max_bytes=max_bytes, node_id="n")
    number = 0
    for epoch in range(periods):
        spool.begin(PeriodId(b"m" * 16, epoch))
        for _ in range(1 + epoch % 4):
            number += 1
            spool.append(_payload(number), number, number * 10)
        if epoch % 5 == 3:  # noqa: PLR2004 - some of them
            spool.abort()
        else:
            spool.commit()
    if records := spool.read(shipped, MAX_BYTES) if shipped else []:
        spool.advance(records[-1].position, b"note")
    spool.close()
    return path


_good = [
    _make("small", 1 << 16, 40, 3),
    _make("large", 1 << 20, 12, 0),
    _make("done", 1 << 17, 5, 99),
    _make("empty", 1 << 16, 0, 0),
]
_names = [sorted(path.name for path in folder.iterdir()) for folder in _good]
_known = {_payload(number): number for number in range(1, 200)}


def seeds() -> Iterator[bytes]:
    """Each spool with each kind of change, at its header and behind it."""
    for spool in range(len(_good)):
        yield bytes([spool])
        for kind in range(6):
            yield bytes([spool, 0, kind, 0, 0, 8, 0, 1])
            yield bytes([spool, 1, kind, 0, 1, 200, 9, 9])


def _change(path: Path, kind: int, at: int, value: bytes) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(at % (size + 1))
        if kind == 0:
            file.write(value)
        elif kind == 1:
            byte = file.read(1) or b"\0"
            file.seek(at % (size + 1))
            file.write(bytes([byte[0] ^ 1 << value[0] % 8]))
        elif kind == 2:  # noqa: PLR2004 - the next kind
            file.truncate(at % (size + 1))
        elif kind == 3:  # noqa: PLR2004
            file.write(bytes(int.from_bytes(value, "big") % 4096))
        elif kind == 4:  # noqa: PLR2004
            file.seek(int.from_bytes(value, "big") % (size + 1))
            piece = file.read(2048)
            file.seek(at % (size + 1))
            file.write(piece)
        else:
            file.seek(0, os.SEEK_END)
            file.write(value * 40)


def _damage(folder: Path, names: list[str], data: bytes) -> None:
    for start in range(0, min(len(data), 16 * CHANGE_BYTES), CHANGE_BYTES):
        change = data[start : start + CHANGE_BYTES].ljust(CHANGE_BYTES, b"\0")
        at = int.from_bytes(change[2:6], "big")
        _change(folder / names[change[0] % len(names)], change[1] % 6, at, change[6:])


def _read_all(spool: Spool) -> None:
    last = 0
    while records := spool.read(5, MAX_BYTES):
        for record in records:
            if record.loss:
                continue
            number = _known.get(record.payload)
            assert number is not None, record.payload[:60]
            assert number > last, (number, last)
            assert (record.packets, record.n_bytes) == (number, number * 10)
            last = number
        spool.advance(records[-1].position)


def _use(spool: Spool) -> None:
    _read_all(spool)
    if not spool.begin(PeriodId(b"q" * 16, 1)):
        raise AssertionError("a new meter's period is not wanted")
    spool.append(NEW, 1, 1)
    spool.commit()
    assert NEW in [record.payload for record in spool.read(99, MAX_BYTES)]
    counters = spool.counters()
    assert counters.pending >= 1
    assert counters.age_s >= 0
    assert min(counters.dropped.messages, counters.dropped.packets, counters.dropped.n_bytes) >= 0


def fuzz(data: bytes) -> None:
    """Damage a copy, and use it."""
    which = data[0] % len(_good) if data else 0
    folder = _base / "used"
    shutil.copytree(_good[which], folder)
    folder.chmod(0o700)
    try:
        _damage(folder, _names[which], data[1:])
        with contextlib.suppress(ValueError):
            spool = Spool(folder, max_bytes=MAX_BYTES, node_id="n")
            try:
                _use(spool)
            finally:
                spool.close()
    finally:
        shutil.rmtree(folder)
