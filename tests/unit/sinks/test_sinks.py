"""netlog.sinks: whole lines, whatever the disk and the reader do."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import FileSink, QueuedSink, Sink, SinkGroup, StreamSink


def message(number: int) -> Message:
    """A message that says which one it is."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", number, 100 * number, 0, 0)
    return Message(f"n{number}", number, number + 1, virtual_traffic=flow_array([row]))


def lines_of(path: Path) -> list[Message]:
    """The messages in a file; every line must be one."""
    return [Message.from_json(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("kind", [FileSink, StreamSink, QueuedSink, SinkGroup])
def test_every_sink_has_the_protocol(kind: type) -> None:
    """Whoever has write and close is a sink."""
    assert issubclass(kind, Sink)


def test_a_file_gets_one_line_a_message(tmp_path: Path) -> None:
    """Messages are appended as JSON lines, also to a file that has some."""
    path = tmp_path / "flows.jsonl"
    for numbers in ((1, 2), (3,)):
        sink = FileSink(path)
        for number in numbers:
            sink.write(message(number))
        sink.close()
    assert path.read_bytes() == b"".join(message(n).to_json() + b"\n" for n in (1, 2, 3))


def test_a_new_file_is_the_owners_only(tmp_path: Path) -> None:
    """Who talked to whom is private; the mode of a file that is there is its owner's choice."""
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o640)
    for path, mode in ((tmp_path / "new", 0o600), (old, 0o640)):
        FileSink(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_line_that_a_crash_cut_is_ended(tmp_path: Path) -> None:
    """A file that ends in half a line loses that half only."""
    path = tmp_path / "flows.jsonl"
    path.write_bytes(message(1).to_json() + b"\n" + message(2).to_json()[:20])
    sink = FileSink(path)
    sink.write(message(3))
    sink.write(message(4))
    sink.close()
    whole = path.read_bytes().splitlines()
    assert [Message.from_json(whole[i]).node_id for i in (0, 2, 3)] == ["n1", "n3", "n4"]


def test_a_line_that_the_disk_cuts_is_taken_back(tmp_path: Path) -> None:
    """A short write leaves nothing of its line, and the sink goes on when there is room again."""
    path = tmp_path / "flows.jsonl"
    texts = [message(number).to_json() for number in (1, 2, 3, 4)]
    program = textwrap.dedent(f"""
        import resource
        from netlog import Message
        from netlog.sinks import FileSink

        first, *refused, last = map(Message.from_json, {texts!r})
        sink = FileSink({str(path)!r})
        sink.write(first)
        soft = len(first.to_json()) + 20  # room for 19 bytes of the next line
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        for message in refused:
            try:
                sink.write(message)
            except OSError as error:
                print(error.errno, error.filename)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        sink.write(last)
        sink.close()
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # 28: cut short, so the disk is full; the same would be said of a limit.
    assert done.stdout == f"28 {path}\n" * 2
    assert [found.node_id for found in lines_of(path)] == ["n1", "n4"]


def test_a_full_device_is_an_error_with_the_files_name() -> None:
    """/dev/full refuses every byte; the error says which sink it was."""
    sink = FileSink("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        sink.write(message(1))
    sink.close()


def test_a_file_that_is_emptied_goes_on_from_its_start(tmp_path: Path) -> None:
    """What copytruncate of logrotate(8) does leaves no hole."""
    path = tmp_path / "flows.jsonl"
    sink = FileSink(path)
    sink.write(message(1))
    os.truncate(path, 0)
    sink.write(message(2))
    sink.close()
    assert [found.node_id for found in lines_of(path)] == ["n2"]


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    """A second sink on a file is refused, until the first is closed."""
    path = tmp_path / "flows.jsonl"
    first = FileSink(path)
    with pytest.raises(OSError, match="another sink has it open"):
        FileSink(path)
    first.close()
    FileSink(path).close()


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """What can keep half a line is refused at once, without waiting for a reader."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file or a character device"):
        FileSink(path)


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """No directory is made."""
    with pytest.raises(FileNotFoundError):
        FileSink(tmp_path / "missing" / "flows.jsonl")


def test_a_closed_file_refuses(tmp_path: Path) -> None:
    """Closing twice is fine, writing afterwards is an error."""
    sink = FileSink(tmp_path / "flows.jsonl")
    sink.close()
    sink.close()
    with pytest.raises(ValueError, match="closed"):
        sink.write(message(1))


def test_failed_opens_leak_no_descriptor(tmp_path: Path) -> None:
    """A sink that could not be opened holds nothing."""
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with pytest.raises(OSError, match="not a regular file"):
            FileSink(tmp_path / "pipe")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_stream_gets_one_line_a_message() -> None:
    """A pipe's reader sees each message when write returns, however long it is."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines, os.fdopen(writer, "wb") as stream:
        sink = StreamSink(stream)
        sink.write(message(1))
        assert Message.from_json(lines.readline()).node_id == "n1"
        sink.close()
        assert not stream.closed


def test_a_stream_may_have_several_writers() -> None:
    """Lines longer than a pipe takes at once are whole, whoever writes at the same time."""
    reader, writer = os.pipe()
    sink = StreamSink(writer)
    long = [f"{number}".encode() * 100_000 for number in range(1, 5)]
    writers = [threading.Thread(target=sink.write_line, args=(line,)) for line in long]
    for each in writers:
        each.start()
    with os.fdopen(reader, "rb") as pipe:
        lines = [pipe.readline() for _ in long]
    for each in writers:
        each.join()
    os.close(writer)
    assert sorted(lines) == [line + b"\n" for line in long]


def test_a_stream_that_lost_its_reader_says_so() -> None:
    """A closed pipe is a BrokenPipeError, and the sink remembers that nobody will read again."""
    reader, writer = os.pipe()
    os.close(reader)
    sink = StreamSink(writer)
    assert not sink.abandoned
    with pytest.raises(BrokenPipeError):
        sink.write(message(1))
    assert sink.abandoned
    os.close(writer)


def test_a_line_that_a_stream_cut_is_ended() -> None:
    """Half a line in a pipe cannot be taken back; the next message begins on a line of its own."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    filler = message(1)
    room = os.fpathconf(writer, "PC_PIPE_BUF") * 16  # a pipe's capacity
    os.write(writer, b"x" * (room - 4096))
    big = Message(
        "big",
        1,
        2,
        virtual_traffic=flow_array(
            [(6, f"100.64.0.1:{i}", "100.64.0.2:2", 1, 1, 1, 1) for i in range(999)]
        ),
    )
    sink = StreamSink(writer)
    with pytest.raises(BlockingIOError):
        sink.write(big)
    assert b"\n" not in os.read(reader, room)
    sink.write(filler)
    assert os.read(reader, room) == b"\n" + filler.to_json() + b"\n"
    os.close(reader)
    os.close(writer)
