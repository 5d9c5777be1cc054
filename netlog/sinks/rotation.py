"""When to rotate a file of messages, under which name, and how many rotated files to keep."""

import calendar
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Rotated", "RotatedNames", "Rotation", "with_ending"]

STAMP = "%Y%m%dT%H%M%SZ"
PACKED = ".zst"
UNFINISHED = ".tmp"
"""Ending of a compressed file until it is complete."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is rotated, and what happens to the rotated files.

    Attributes:
        max_bytes: if a write would make the file longer than this, the file is rotated first; 0: no
            limit. A write that is longer by itself goes to a file of its own.
        age_s: divides UTC into spans of this many seconds, for example 3600 for full hours; a file
            holds the lines of one span; 0: no limit. A restart does not change the spans.
        keep: how many rotated files to keep, the newest ones; 0: all.
        keep_bytes: how much space rotated files may take together; 0: no limit. The newest one is
            always kept.
        zstd: whether rotated files are compressed.

    Raises:
        ValueError: a number is negative.
    """

    max_bytes: int = 0
    age_s: float = 0
    keep: int = 0
    keep_bytes: int = 0
    zstd: bool = False

    def __post_init__(self) -> None:
        for name in ("max_bytes", "age_s", "keep", "keep_bytes"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")

    def is_due(self, size_bytes: int, added_bytes: int, began_s: float, now_s: float) -> bool:
        """Return whether to rotate a file before a write.

        Args:
            size_bytes: size of the file; an empty file is never rotated.
            added_bytes: how many bytes will be written.
            began_s: a time in the span of the file's lines, in seconds since the epoch.
            now_s: the time, in seconds since the epoch.
        """
        if not size_bytes:
            return False
        if self.max_bytes and size_bytes + added_bytes > self.max_bytes:
            return True
        return bool(self.age_s) and began_s // self.age_s != now_s // self.age_s


@dataclass(frozen=True, slots=True, order=True)
class Rotated:
    """A rotated file. Sorts by age, the oldest first.

    Attributes:
        path: without the ending of a compressed file.
        plain: whether the uncompressed file exists.
        packed: whether the compressed file exists. Both exist if a crash came after compressing
            and before removing the plain file.
    """

    path: Path
    plain: bool = False
    packed: bool = False

    @property
    def paths(self) -> list[Path]:
        """Every path of it that exists."""
        return [self.path] * self.plain + [with_ending(self.path, PACKED)] * self.packed


class RotatedNames:
    """The names of one file's rotated files: `flows.jsonl` becomes `flows-20261123T141500Z.jsonl`.

    Args:
        path: the file; not a symbolic link.

    Thread safety: any thread.
    """

    def __init__(self, path: Path) -> None:
        self._folder, self._stem, self._ending = path.parent, path.stem, path.suffix
        parts = (self._stem, self._ending, PACKED, UNFINISHED)
        stem, ending, packed, unfinished = map(re.escape, parts)
        self._pattern = re.compile(
            rf"({stem}-(\d{{8}}T\d{{6}}Z){ending})(?:({packed})({unfinished})?)?"
        )

    def rotated(self) -> list[Rotated]:
        """Return the rotated files that exist, the oldest first.

        Raises:
            OSError: the directory cannot be read.
        """
        found: dict[str, set[bool]] = {}
        for match in self._matches():
            if not match[4]:
                found.setdefault(match[1], set()).add(match[3] is not None)
        return sorted(
            Rotated(self._folder / name, plain=False in kinds, packed=True in kinds)
            for name, kinds in found.items()
        )

    def unfinished(self) -> list[Path]:
        """Return partly compressed files that a crash left.

        Raises:
            OSError: the directory cannot be read.
        """
        return [self._folder / match[0] for match in self._matches() if match[4]]

    def new(self, now_s: float) -> Path:
        """Return a name that sorts after all existing ones, even if the clock was set back.

        Args:
            now_s: the time, in seconds since the epoch. If files are rotated more than once in a
                second, the time in the name runs ahead of the clock.

        Raises:
            OSError: the directory cannot be read.
        """
        seconds = int(now_s)
        for file in self.rotated()[-1:]:
            newest = self._pattern.fullmatch(file.path.name)
            seconds = max(seconds, 1 + ((newest and _seconds(newest[2])) or 0))
        stamp = time.strftime(STAMP, time.gmtime(seconds))
        return self._folder / f"{self._stem}-{stamp}{self._ending}"

    def _matches(self) -> Iterator[re.Match[str]]:
        for name in os.listdir(self._folder):  # noqa: PTH208 - only names are needed
            match = self._pattern.fullmatch(name)
            if match and _seconds(match[2]) is not None:
                yield match


def with_ending(path: Path, ending: str) -> Path:
    """Return the path with `ending` appended to its name."""
    return path.with_name(path.name + ending)


def _seconds(stamp: str) -> int | None:
    """Return the stamp's time since the epoch; None if its digits are not a time."""
    try:
        return calendar.timegm(time.strptime(stamp, STAMP))
    except ValueError:
        return None
