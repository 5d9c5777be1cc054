"""netlog.sinks.FileSink: files that somebody moves or removes while it writes."""

from pathlib import Path

import pytest

from netlog.sinks import FileSink


def line(number: int) -> bytes:
    """A line, without its break."""
    return b"%09d" % number


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_file_that_is_gone_is_made_again(tmp_path: Path, how: str) -> None:
    """The next message goes to what is at the path; what was written stays where it went."""
    path, aside = tmp_path / "flows.jsonl", tmp_path / "flows.jsonl.1"
    sink = FileSink(path)
    sink.write_line(line(0))
    if how == "removed":
        path.unlink()
    else:
        path.rename(aside)
        assert aside.read_bytes() == line(0) + b"\n"
    if how == "replaced":
        path.touch(0o640)
    sink.write_line(line(1))
    assert path.read_bytes() == line(1) + b"\n"
    with pytest.raises(OSError, match="another sink"):
        FileSink(path)
    sink.close()


def test_a_directory_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    """Nothing is written to where nobody finds it; when the directory is back, it goes on."""
    folder = tmp_path / "log"
    folder.mkdir()
    sink = FileSink(folder / "flows.jsonl")
    sink.write_line(line(0))
    folder.rename(tmp_path / "aside")
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"flows\.jsonl"):
            sink.write_line(line(1))
    folder.mkdir()
    sink.write_line(line(2))
    assert (folder / "flows.jsonl").read_bytes() == line(2) + b"\n"
    assert (tmp_path / "aside" / "flows.jsonl").read_bytes() == line(0) + b"\n"
    sink.close()


def test_reopening_the_same_file_changes_nothing(tmp_path: Path) -> None:
    """A hang-up without a rename is harmless, and so is one while the path cannot be opened."""
    path = tmp_path / "flows.jsonl"
    sink = FileSink(path)
    for number in range(3):
        sink.reopen()
        sink.write_line(line(number))
    assert path.read_bytes().splitlines() == [line(0), line(1), line(2)]
    path.unlink()
    path.mkdir()
    sink.reopen()
    with pytest.raises(IsADirectoryError):
        sink.write_line(line(3))
    path.rmdir()
    sink.write_line(line(4))
    assert path.read_bytes().splitlines() == [line(4)]
    sink.close()
