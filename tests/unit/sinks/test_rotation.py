"""netlog.sinks.FileSink: files that are put aside."""

import calendar
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from netlog.fmt.source import unpack
from netlog.sinks import FileSink, Rotation
from netlog.sinks.rotation import RotatedNames
from tests.support import ROOT
from tests.support.namespace import wait_for

NOON_S = calendar.timegm((2026, 11, 23, 12, 0, 0))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s: float = NOON_S

    def __call__(self) -> float:
        """The time, since the epoch."""
        return self.now_s


def line(number: int) -> bytes:
    """A line of ten bytes, nine without its break."""
    return b"%09d" % number


def kept(path: Path) -> list[bytes]:
    """Every line of the rotated files and of the last one, in the order of their names."""
    files = [part for file in RotatedNames(path).rotated() for part in file.paths]
    return [text for file in [*files, path] for text in content(file).splitlines()]


def content(path: Path) -> bytes:
    """What a file has, unpacked."""
    return b"".join(unpack([path.read_bytes()]))


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def written(path: Path, rotation: Rotation, count: int, clock: Clock | None = None) -> None:
    """Write lines through a sink of their own."""
    sink = FileSink(path, rotation=rotation, clock_s=clock or Clock())
    for number in range(count):
        sink.write_line(line(number))
    sink.close()


def test_a_file_is_put_aside_before_it_grows_too_long(tmp_path: Path) -> None:
    """No file is longer than the limit, the names have the time and sort, and no line is lost."""
    path = tmp_path / "flows.jsonl"
    written(path, Rotation(max_bytes=30), 10)
    # Three more in the same second: the names run ahead of the clock.
    assert names(tmp_path) == [
        "flows-20261123T120000Z.jsonl",
        "flows-20261123T120001Z.jsonl",
        "flows-20261123T120002Z.jsonl",
        "flows.jsonl",
    ]
    assert [(tmp_path / name).stat().st_size for name in names(tmp_path)] == [30, 30, 30, 10]
    assert kept(path) == [line(number) for number in range(10)]


def test_a_line_longer_than_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    """An empty file is never put aside, and no line is cut."""
    path = tmp_path / "flows"
    written(path, Rotation(max_bytes=5), 3)
    assert names(tmp_path) == ["flows", "flows-20261123T120000Z", "flows-20261123T120001Z"]
    assert kept(path) == [line(0), line(1), line(2)]


def test_a_clock_that_is_set_back_overwrites_nothing(tmp_path: Path) -> None:
    """The order of the names is the order of the lines, whatever the clock says."""
    path, clock = tmp_path / "flows.jsonl", Clock()
    sink = FileSink(path, rotation=Rotation(max_bytes=10), clock_s=clock)
    for number in range(20):
        sink.write_line(line(number))
        clock.now_s -= 1800
    sink.close()
    assert kept(path) == [line(number) for number in range(20)]


def test_a_file_holds_lines_of_one_span(tmp_path: Path) -> None:
    """With an age of an hour, the first line of each full hour begins a new file."""
    path, clock = tmp_path / "flows.jsonl", Clock()
    sink = FileSink(path, rotation=Rotation(age_s=3600), clock_s=clock)
    for number, minutes in enumerate((0, 59, 60, 119, 300)):
        clock.now_s = NOON_S + 60 * minutes
        sink.write_line(line(number))
    sink.close()
    files = [content(path).splitlines() for path in sorted(tmp_path.glob("flows-*"))]
    assert files == [[line(0), line(1)], [line(2), line(3)]]
    assert content(path).splitlines() == [line(4)]


def test_a_restart_does_not_make_a_file_younger(tmp_path: Path) -> None:
    """The span of a file that was there is that of its last line."""
    path, clock = tmp_path / "flows.jsonl", Clock()
    for number, time_s in enumerate((NOON_S - 1, NOON_S, NOON_S + 3599)):
        clock.now_s = time_s
        sink = FileSink(path, rotation=Rotation(age_s=3600), clock_s=clock)
        sink.write_line(line(number))
        sink.close()
        os.utime(path, (time_s, time_s))
    assert content(path).splitlines() == [line(1), line(2)]
    assert kept(path) == [line(0), line(1), line(2)]


def test_a_file_that_somebody_emptied_is_new(tmp_path: Path) -> None:
    """After `copytruncate` its age counts from the next line on."""
    path, clock = tmp_path / "flows.jsonl", Clock()
    sink = FileSink(path, rotation=Rotation(age_s=3600), clock_s=clock)
    sink.write_line(line(0))
    os.truncate(path, 0)
    clock.now_s += 3600
    sink.write_line(line(1))
    sink.write_line(line(2))
    sink.close()
    assert names(tmp_path) == ["flows.jsonl"]


@pytest.mark.parametrize(
    "rotation",
    [
        Rotation(max_bytes=10, keep=2),
        Rotation(max_bytes=10, keep_bytes=25),
        Rotation(max_bytes=10, keep=2, keep_bytes=1000),
    ],
    ids=["number", "bytes", "both"],
)
def test_the_oldest_files_go(tmp_path: Path, rotation: Rotation) -> None:
    """As many of the newest stay as may; what only looks like one is left alone."""
    path = tmp_path / "flows.jsonl"
    others = ["flows-20261123T120000.jsonl", "flows-2-20261123T120000Z.jsonl"]
    others += ["flows-20261399T120000Z.jsonl", "flows-20261123T120000Z.json"]
    for name in others:
        (tmp_path / name).touch()
    sink = FileSink(path, rotation=rotation, clock_s=Clock())
    for number in range(9):
        sink.write_line(line(number))
    wait_for(lambda: len(RotatedNames(path).rotated()) == 2, "two rotated files stay")
    sink.close()
    assert kept(path) == [line(6), line(7), line(8)]
    assert set(others) <= set(names(tmp_path))


def test_the_newest_file_stays_however_long(tmp_path: Path) -> None:
    """A bound below one file's length does not remove what has just been written."""
    path = tmp_path / "flows.jsonl"
    sink = FileSink(path, rotation=Rotation(max_bytes=10, keep_bytes=1), clock_s=Clock())
    for number in range(5):
        sink.write_line(line(number))
    wait_for(lambda: len(RotatedNames(path).rotated()) == 1, "one rotated file stays")
    sink.close()
    assert kept(path) == [line(3), line(4)]


def test_files_are_packed_in_the_background(tmp_path: Path) -> None:
    """What was put aside becomes zstd with the same lines and the same mode."""
    path = tmp_path / "flows.jsonl"
    path.touch()
    path.chmod(0o640)
    sink = FileSink(path, rotation=Rotation(max_bytes=20, zstd=True), clock_s=Clock())
    for number in range(9):
        sink.write_line(line(number))
    packed = [f"flows-20261123T12000{number}Z.jsonl.zst" for number in range(4)]
    wait_for(lambda: names(tmp_path) == [*packed, "flows.jsonl"], "all are packed")
    assert stat.S_IMODE((tmp_path / packed[0]).stat().st_mode) == 0o640
    sink.close()
    assert (tmp_path / packed[0]).read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert kept(path) == [line(number) for number in range(9)]


def test_what_a_crash_left_is_finished_at_the_start(tmp_path: Path) -> None:
    """Half a packed file goes, a plain one beside its packed one too; an unpacked one is packed."""
    path = tmp_path / "flows.jsonl"
    written(path, Rotation(max_bytes=10), 3)
    first, second = (file.path for file in RotatedNames(path).rotated())
    before = kept(path)
    sink = FileSink(path, rotation=Rotation(zstd=True))
    wait_for(lambda: names(tmp_path) == [first.name + ".zst", second.name + ".zst", path.name], "")
    sink.close()
    first.write_bytes(line(0) + b"\n")  # as if it had not come to removing it
    (tmp_path / (second.name + ".zst.tmp")).write_bytes(b"\x28\xb5\x2f\xfdhalf")
    for rotation in (Rotation(zstd=True), Rotation(max_bytes=1000)):
        sink = FileSink(path, rotation=rotation)
        wait_for(lambda: len(names(tmp_path)) == 3, "what was left is gone")
        sink.close()
        assert kept(path) == before


def test_a_sink_killed_while_it_packs_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL leaves no half file under a whole one's name, and the next start finishes it."""
    path = tmp_path / "flows.jsonl"
    data = os.urandom(1 << 24).hex().encode()
    path.write_bytes(b"".join(data[i : i + 99] + b"\n" for i in range(0, len(data), 99)))
    before = content(path).splitlines()
    program = textwrap.dedent(f"""
        import time
        from netlog.sinks import FileSink, Rotation
        sink = FileSink({str(path)!r}, rotation=Rotation(max_bytes=1))
        sink.write_line(b"last")
        sink.close()
        sink = FileSink({str(path)!r}, rotation=Rotation(zstd=True))  # packs what it finds
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    wait_for(lambda: any(name.endswith(".tmp") for name in names(tmp_path)), "it packs")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("*.zst"))
    sink = FileSink(path, rotation=Rotation(zstd=True))
    wait_for(lambda: len(names(tmp_path)) == 2 and any(tmp_path.glob("*.zst")), "it is packed")
    sink.close()
    # Not compared in the assertion, whose text would be megabytes.
    same = kept(path) == [*before, b"last"]
    assert same


def test_closing_does_not_wait_for_packing(tmp_path: Path) -> None:
    """A file that is being packed stays plain and whole."""
    path = tmp_path / "flows.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(1 << 33)  # takes seconds to pack, and no room
        sparse.seek(0, os.SEEK_END)
        sparse.write(b"\n")
    sink = FileSink(path, rotation=Rotation(max_bytes=1, zstd=True))
    sink.write_line(line(0))
    wait_for(lambda: any(name.endswith(".tmp") for name in names(tmp_path)), "it packs")
    sink.close()
    (rotated,) = RotatedNames(path).rotated()
    assert (rotated.plain, rotated.packed) == (True, False)
    assert rotated.path.stat().st_size == (1 << 33) + 1
    assert len(names(tmp_path)) == 2


def test_a_file_that_can_not_be_put_aside_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Too long a name is said once, and costs no line."""
    path = tmp_path / ("f" * 240 + ".jsonl")
    written(path, Rotation(max_bytes=10), 5)
    assert kept(path) == [line(number) for number in range(5)]
    assert [record.message for record in caplog.records] == [
        f"{path}: cannot rotate: File name too long"
    ]


def test_half_a_line_is_ended_before_its_file_is_put_aside(tmp_path: Path) -> None:
    """What a crash cut stays a line of its own, in the file that it was in."""
    path = tmp_path / "flows.jsonl"
    path.write_bytes(line(0) + b"\n" + b"half")
    written(path, Rotation(max_bytes=10), 1)
    assert [content(path) for path in sorted(tmp_path.iterdir())] == [
        line(0) + b"\nhalf\n",
        line(0) + b"\n",
    ]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file itself is put aside, beside itself; the link stays what it is."""
    (tmp_path / "log").mkdir()
    path = tmp_path / "flows.jsonl"
    path.symlink_to("log/flows.jsonl")
    written(path, Rotation(max_bytes=10), 2)
    assert path.is_symlink()
    assert names(tmp_path / "log") == ["flows-20261123T120000Z.jsonl", "flows.jsonl"]


def test_a_device_is_not_put_aside() -> None:
    """/dev/null stays where it is."""
    before = Path("/dev/null").stat()
    written(Path("/dev/null"), Rotation(max_bytes=1, age_s=1, zstd=True), 3)
    assert os.path.samestat(before, Path("/dev/null").stat())


def test_rotation_leaks_nothing(tmp_path: Path) -> None:
    """However often it rotates, there are no more descriptors and threads at the end."""

    def descriptors() -> int:
        return len(names(Path("/proc/self/fd")))

    def threads() -> int:
        return len(names(Path("/proc/self/task")))

    path = tmp_path / "flows.jsonl"
    descriptors_before, threads_before = descriptors(), threads()
    for _ in range(20):
        written(path, Rotation(max_bytes=10, zstd=True, keep=3), 5)
    # A joined thread may be on the kernel's list for a moment yet.
    assert descriptors() == descriptors_before
    wait_for(lambda: threads() <= threads_before, "the archive's threads have ended")


@pytest.mark.parametrize("name", ["max_bytes", "age_s", "keep", "keep_bytes"])
def test_a_negative_limit_is_refused(name: str) -> None:
    """The error has the argument's name."""
    with pytest.raises(ValueError, match=name):
        Rotation(**{name: -1})  # type: ignore[arg-type]


def test_time_is_that_of_the_machine(tmp_path: Path) -> None:
    """Without a clock of its own, names have the time of the rotation, in UTC."""
    path = tmp_path / "flows.jsonl"
    # Not gmtime()'s own time: the kernel's coarse clock, which is up to a tick behind.
    before = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time()))
    sink = FileSink(path, rotation=Rotation(max_bytes=10))
    sink.write_line(line(0))
    sink.write_line(line(1))
    sink.close()
    after = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time()))
    (found,) = tmp_path.glob("flows-*")
    assert before <= found.stem.removeprefix("flows-") <= after
