"""The sinks that a configuration asks for."""

import errno
import sys
from collections.abc import Sequence

from netlog.config import Config
from netlog.credentials import Credentials
from netlog.sink_config import (
    FileSinkConfig,
    SinkConfig,
    StdoutSinkConfig,
    sink_names,
)
from netlog.sinks.base import Sink
from netlog.sinks.file import FileSink
from netlog.sinks.rotation import Rotation
from netlog.sinks.stream import StreamSink

__all__ = ["open_sinks"]


def open_sinks(config: Config, credentials: Sequence[Credentials]) -> dict[str, Sink]:
    """Open every sink of a configuration; if one can not be had, none stays open.

    Args:
        config: the gateway.
        credentials: what each sink shows to its receiver, in their order.

    Returns:
        The sinks by the name that reports call them.

    Raises:
        OSError: a file or a spool can not be opened, or standard output is closed.
        MissingExtraError: a sink needs a package that is not there.

    Thread safety: any thread.
    """
    sinks: dict[str, Sink] = {}
    try:
        names = sink_names(config.sinks)
        for name, sink, _ in zip(names, config.sinks, credentials, strict=True):
            sinks[name] = _opened(name, sink)
    except BaseException:
        for opened in sinks.values():
            opened.close()
        raise
    return sinks


def _opened(name: str, sink: SinkConfig) -> Sink:
    if isinstance(sink, StdoutSinkConfig):
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed", name)
        return StreamSink(sys.stdout)
    if isinstance(sink, FileSinkConfig):
        return FileSink(sink.path, rotation=_rotation(sink))
    raise NotImplementedError(f"{name}: this type of sink")


def _rotation(sink: FileSinkConfig) -> Rotation | None:
    if sink.rotate_bytes is None and sink.rotate_age_s is None:
        return None
    return Rotation(
        max_bytes=sink.rotate_bytes or 0,
        age_s=sink.rotate_age_s or 0,
        keep=sink.keep or 0,
        keep_bytes=sink.keep_bytes or 0,
        zstd=sink.compression == "zstd",
    )
