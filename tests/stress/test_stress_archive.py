"""netlog.sinks.FileSink: SIGKILL at any line of rotating and packing doubles and loses nothing."""

import itertools
from pathlib import Path

from netlog.fmt.source import unpack
from netlog.sinks import FileSink, Rotation
from netlog.sinks.rotation import RotatedNames
from tests.stress.killing import Diary, Silence, in_files, killed_at
from tests.support.namespace import wait_for
from tests.support.soak import short_and_soak

WATCHED = ("netlog/sinks/archive.py", "netlog/sinks/file.py", "netlog/sinks/rotation.py")
ROTATION = Rotation(max_bytes=20, zstd=True)


def work(path: Path, diary: Diary, numbers: range) -> None:
    """Write lines, two to a file, and wait until all but the last file are packed."""
    sink = FileSink(path, rotation=ROTATION)
    for number in numbers:
        sink.write_line(b"%09d" % number)
        diary.tell(number)
    wait_for(lambda: not any(file.plain for file in RotatedNames(path).rotated()), "all are packed")
    sink.close()


@short_and_soak("step", 31, 5)
def test_killed_at_any_line_each_line_is_in_the_files_once(fast_dir: Path, step: int) -> None:
    """Whether it was renaming, packing, removing, or writing."""
    for line in itertools.count(1, step):
        folder, diary = fast_dir / str(line), Diary()
        folder.mkdir()
        path = folder / "flows.jsonl"
        came_through = not killed_at(
            line,
            in_files(WATCHED),
            lambda: work(path, diary, range(6)),  # noqa: B023 - it runs within the turn
        )
        told = [number for (number,) in diary.read()]
        work(path, Silence(), range(100, 103))
        # Packed files only, whole, and nothing that is on the way to one.
        names = sorted(each.name.partition(".")[2] for each in folder.iterdir())
        assert names == ["jsonl", *["jsonl.zst"] * (len(names) - 1)]
        text = b"".join(b"".join(unpack([each.read_bytes()])) for each in folder.iterdir())
        found = sorted(map(int, text.splitlines()))
        # The line that it had in hand may be there, too.
        assert found in ([*told, 100, 101, 102], [*told, len(told), 100, 101, 102]), line
        if came_through:
            assert told == list(range(6))
            break
    assert line > 200
