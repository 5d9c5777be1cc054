"""Compress rotated files and remove the oldest ones, in the background."""

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
"""Bytes compressed in one step. A step takes a few milliseconds; a close is noticed after it."""
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
PACKING = "packing rotated files"
"""What needs zstd here."""


class _ClosingError(Exception):
    """The archive is closing: the next start compresses what is left."""


class Archive:
    """Compresses and removes one file's rotated files, in a thread of its own.

    A compressed file gets its final name when it is complete and on the disk; only then is the
    plain file removed. If a crash leaves files uncompressed, or leaves both versions of one, the
    next start finishes the work.

    Args:
        path: the file that is rotated.
        rotation: what happens to its rotated files.

    Raises:
        MissingExtraError: files are to be compressed, but no zstd module is installed.

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
        """Tell the archive that a file was rotated."""
        self._asked.set()

    def close(self) -> None:
        """End the thread; an unfinished file stays uncompressed. Closing twice is fine."""
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
                # The same error repeats with every file: it is reported once until it changes.
                if self._reported != str(error):
                    self._reported = str(error)
                    _log.warning(
                        "%s: cannot compress or remove rotated files: %s", self._path, error
                    )
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
            # On a full disk compressing fails; removing the oldest files makes room.
            self._prune(names.rotated())

    def _pack(self, path: Path) -> None:
        """Make `path`.zst, complete and on the disk."""
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
        """Remove the oldest files beyond the limits."""
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
    """Flush the directory's entries to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
