"""What becomes of files that were put aside: packed, and the oldest removed, in the background."""

import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

from netlog._zstd import load_zstd
from netlog.sinks.rotation import PACKED, UNFINISHED, Rotated, RotatedNames, Rotation, with_ending

__all__ = ["PACKING", "Archive"]

_log = logging.getLogger("netlog")

PIECE_BYTES = 1 << 20
"""Packed at a time: a few milliseconds, after which a close is noticed."""
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
PACKING = "packing rotated files"
"""What needs zstd here."""


class _ClosingError(Exception):
    """The archive is closed: what is not packed yet is left for the next start."""


class Archive:
    """Packs and removes what one file's rotation puts aside, in a thread of its own.

    A packed file gets its name when it is whole and on the disk; only then the plain one goes. What
    a crash left in between, or left unpacked, is finished at the next start.

    Args:
        path: the file that is rotated.
        rotation: what becomes of it.

    Raises:
        MissingExtraError: files are to be packed, and nothing here can.

    Thread safety: any thread.
    """

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._path = path
        self._rotation = rotation
        self._zstd: Any = load_zstd(PACKING) if rotation.zstd else None
        self._asked = threading.Event()
        self._closing = False
        self._reported = ""
        self._thread = threading.Thread(target=self._run, name="netlog-archive", daemon=True)
        self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Say that a file was put aside."""
        self._asked.set()

    def close(self) -> None:
        """End the thread; a file that it is packing stays as it is. Closing twice is fine."""
        self._closing = True
        self._asked.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._asked.wait()
            self._asked.clear()
            try:
                self._tidy()
            except _ClosingError:
                return
            except Exception as error:  # noqa: BLE001 - rotation must not end the logging
                # Once for each kind of trouble, since it comes again with every file.
                if self._reported != str(error):
                    self._reported = str(error)
                    _log.warning("%s: rotated files stay as they are: %s", self._path, error)
            else:
                self._reported = ""

    def _tidy(self) -> None:
        names = RotatedNames(self._path.resolve())
        for path in names.unfinished():
            _remove(path)
        try:
            for file in names.rotated():
                if file.plain and (file.packed or self._zstd is not None):
                    if not file.packed:
                        self._pack(file.path)
                    _remove(file.path)
        finally:
            # Also where the disk was too full to pack anything.
            self._prune(names.rotated())

    def _pack(self, path: Path) -> None:
        """Make `path`.zst, whole and on the disk."""
        unfinished = with_ending(path, PACKED + UNFINISHED)
        try:
            with path.open("rb") as plain:
                mode = stat.S_IMODE(os.fstat(plain.fileno()).st_mode)
                with os.fdopen(os.open(unfinished, FLAGS, 0o600), "wb") as packed:
                    self._copy_packed(plain, packed)
                    packed.flush()
                    os.fchmod(packed.fileno(), mode)
                    os.fsync(packed.fileno())
            unfinished.rename(with_ending(path, PACKED))
        except BaseException:
            _remove(unfinished)
            raise
        _sync_folder(path.parent)

    def _copy_packed(self, plain: Any, packed: Any) -> None:  # noqa: ANN401 - files of open()
        compressor = self._zstd.ZstdCompressor()
        while piece := plain.read(PIECE_BYTES):
            if self._closing:
                raise _ClosingError
            packed.write(compressor.compress(piece))
        packed.write(compressor.flush())

    def _prune(self, rotated: list[Rotated]) -> None:
        """Remove the oldest beyond what may stay."""
        kept_bytes = 0
        for age, file in enumerate(reversed(rotated)):
            kept_bytes += sum(map(_size_bytes, file.paths))
            too_many = 0 < self._rotation.keep <= age
            too_big = 0 < self._rotation.keep_bytes < kept_bytes and age > 0
            if too_many or too_big:
                for path in file.paths:
                    _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_folder(path: Path) -> None:
    """Bring the directory's entries to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
