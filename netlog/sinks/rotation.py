"""When a file of messages is put aside, under which name, and how many of those stay."""

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
"""Behind the name of a packed file, until it is whole."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is put aside, and what becomes of it then.

    Attributes:
        max_bytes: a file that a write would make longer is put aside first; 0: however long. A
            write that is longer by itself makes a file of its own.
        age_s: UTC is cut into spans of so many seconds, 3600 being the full hours, and a file has
            the lines of one span; 0: however old. A restart changes nothing about that.
        keep: how many files that were put aside stay, the newest; 0: all.
        keep_bytes: what they may take together; 0: anything. The newest stays in any case.
        zstd: whether they are packed.

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
        """Whether a file is to be put aside before a write.

        Args:
            size_bytes: of the file; an empty one is never put aside.
            added_bytes: what will be written.
            began_s: a time in the span that its lines are of, since the epoch.
            now_s: the time, since the epoch.
        """
        if not size_bytes:
            return False
        if self.max_bytes and size_bytes + added_bytes > self.max_bytes:
            return True
        return bool(self.age_s) and began_s // self.age_s != now_s // self.age_s


@dataclass(frozen=True, slots=True, order=True)
class Rotated:
    """A file that was put aside; they sort by age, the oldest first.

    Attributes:
        path: without the ending of a packed one.
        plain: it is there as it was.
        packed: it is there as zstd. Both: a crash came between packing and removing.
    """

    path: Path
    plain: bool = False
    packed: bool = False

    @property
    def paths(self) -> list[Path]:
        """Every file of it."""
        return [self.path] * self.plain + [with_ending(self.path, PACKED)] * self.packed


class RotatedNames:
    """The names that one file is put aside under: `flows.jsonl` as `flows-20261123T141500Z.jsonl`.

    Args:
        path: the file; no symbolic link.

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
        """What has been put aside and is there, the oldest first.

        Raises:
            OSError: the directory can not be read.
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
        """What a crash left of a file that was being packed.

        Raises:
            OSError: the directory can not be read.
        """
        return [self._folder / match[0] for match in self._matches() if match[4]]

    def new(self, now_s: float) -> Path:
        """A name that sorts behind all that are there, also if the clock was set back.

        Args:
            now_s: the time, since the epoch; more than one name in a second runs ahead of it.

        Raises:
            OSError: the directory can not be read.
        """
        seconds = int(now_s)
        for file in self.rotated()[-1:]:
            newest = self._pattern.fullmatch(file.path.name)
            seconds = max(seconds, 1 + ((newest and _seconds(newest[2])) or 0))
        stamp = time.strftime(STAMP, time.gmtime(seconds))
        return self._folder / f"{self._stem}-{stamp}{self._ending}"

    def _matches(self) -> Iterator[re.Match[str]]:
        for name in os.listdir(self._folder):  # noqa: PTH208 - names are all it takes
            match = self._pattern.fullmatch(name)
            if match and _seconds(match[2]) is not None:
                yield match


def with_ending(path: Path, ending: str) -> Path:
    """The path with something behind its name."""
    return path.with_name(path.name + ending)


def _seconds(stamp: str) -> int | None:
    """The time that a stamp says, since the epoch; None if it only looks like one."""
    try:
        return calendar.timegm(time.strptime(stamp, STAMP))
    except ValueError:
        return None
