"""Processes that are killed before they execute a certain line, and what they told before that."""

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

import msgspec


class Diary:
    """What a process that will be killed has done, told through a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def tell(self, *what: object) -> None:
        """Told when this returns, whatever comes next."""
        os.write(self.writer, msgspec.json.encode(what) + b"\n")

    def read(self) -> list[list[Any]]:
        """All that was told, after the process has ended."""
        os.close(self.writer)
        with os.fdopen(self.reader, "rb") as stream:
            return [msgspec.json.decode(line) for line in stream]


class Silence(Diary):
    """The diary of a process that nobody will ask."""

    def __init__(self) -> None:
        """Without a pipe."""

    def tell(self, *what: object) -> None:
        """Tell nobody."""


def killed_at(line: int, watched: Callable[[str], bool], act: Callable[[], None]) -> bool:
    """Run it in a process that is killed before it executes that line.

    Args:
        line: counted from 1, over all threads.
        watched: whether the lines of a file count.
        act: what to run.

    Returns:
        Whether it was killed; False: it came through.
    """
    left = itertools.count(line, -1)

    def watch(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - as settrace has it
        if not watched(frame.f_code.co_filename):
            return None
        if event == "line" and next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return watch

    def act_watched() -> None:
        threading.settrace(watch)
        sys.settrace(watch)
        act()
        sys.settrace(None)

    return _killed(act_watched)


def killed_at_call(call: int, act: Callable[[], None]) -> bool:
    """Run it in a process that is killed before a call of a function of `os`.

    Args:
        call: counted from 1, in the thread that runs it.
        act: what to run.

    Returns:
        Whether it was killed; False: it came through.
    """
    left = itertools.count(call, -1)

    def watch(_: FrameType, event: str, function: Any) -> None:  # noqa: ANN401 - as setprofile
        if event == "c_call" and function.__module__ == "posix" and next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def act_watched() -> None:
        sys.setprofile(watch)
        act()
        sys.setprofile(None)

    return _killed(act_watched)


def _killed(act: Callable[[], None]) -> bool:
    """Run it in a process; returns whether that was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            sys.settrace(None)
            sys.setprofile(None)
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def in_files(names: Collection[str]) -> Callable[[str], bool]:
    """Whether a file is one of those that these names end."""
    suffixes = tuple(names)
    return lambda file: file.endswith(suffixes)
