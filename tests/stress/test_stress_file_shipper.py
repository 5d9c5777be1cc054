"""netlog.sinks.FileShipper: SIGKILL at any line, also of a rotation, doubles and loses nothing."""

import itertools
import re
from pathlib import Path

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import FileShipper, FileSink, PeriodId, Rotation, SpooledSink
from netlog.spool import Spool
from tests.stress.killing import Diary, Silence, in_files, killed_at
from tests.support.soak import short_and_soak

METER = b"0123456789abcdef"
WATCHED = (
    "netlog/sinks/spooled.py",
    "netlog/sinks/file.py",
    "netlog/sinks/file_shipper.py",
    "netlog/sinks/rotation.py",
    "netlog/spool/reader.py",
    "netlog/spool/cursor.py",
)


def store(sink: SpooledSink, diary: Diary, epoch: int) -> None:
    """Store a period of two messages."""
    if not sink.begin(PeriodId(METER, epoch)):
        return
    for number in (2 * epoch, 2 * epoch + 1):
        row = (6, "100.64.0.1:1", "100.64.0.2:2", number, 100 * number, 0, 0)
        sink.write(Message(f"n{number}", 1, 2, virtual_traffic=flow_array([row])))
    diary.tell("committing", epoch)
    sink.commit()
    diary.tell("committed", epoch)


def work(path: Path, diary: Diary, epochs: range) -> None:
    """Store periods, one shipped after the other; every second batch has a new file."""
    path.mkdir(exist_ok=True)
    file = FileSink(path / "flows.jsonl", rotation=Rotation(max_bytes=300))
    spool = Spool(path / "spool", max_bytes=1 << 20)
    sink = SpooledSink(spool, FileShipper(file), node_id="n", name="file")
    for epoch in epochs:
        store(sink, diary, epoch)
        sink.wait_empty()
    sink.close(60)


@short_and_soak("step", 53, 5)
def test_killed_at_any_line_each_message_is_in_the_files_once(fast_dir: Path, step: int) -> None:
    """Whether it was writing, cutting, rotating, or moving the cursor."""
    # Two threads: the lines before it are not the same ones each time, so any step meets them all.
    for line in itertools.count(1, step):
        path, diary = fast_dir / str(line), Diary()
        came_through = not killed_at(
            line,
            in_files(WATCHED),
            lambda: work(path, diary, range(1, 5)),  # noqa: B023 - it runs within the turn
        )
        events = diary.read()
        work(path, Silence(), range(1, 6))
        text = b"".join(found.read_bytes() for found in path.glob("flows*.jsonl"))
        names = re.findall(rb'^\{"nodeId":"n(\d+)"[^\n]*\}$', text, re.MULTILINE)
        assert sorted(map(int, names)) == list(range(2, 12)), events
        assert text.count(b"\n") == len(names)
        if came_through:
            assert len(list(path.glob("flows-*"))) > 1
            break
    assert line > 300
