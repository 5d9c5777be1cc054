"""Opens the sinks of a configuration. The module of a shipper is imported only if it is needed."""

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from netlog._zstd import load_zstd
from netlog.config.credentials import Credentials
from netlog.config.gateway import GatewayConfig
from netlog.config.sinks import (
    FileSinkConfig,
    HecSinkConfig,
    HttpJsonSinkConfig,
    HttpSinkConfig,
    RemoteSinkConfig,
    SinkConfig,
    sink_names,
)
from netlog.errors import ConfigError, MissingExtraError
from netlog.sinks.archive import PACKING
from netlog.sinks.base import Sink
from netlog.sinks.file import FileSink
from netlog.sinks.file_shipper import FileShipper
from netlog.sinks.rotation import Rotation
from netlog.sinks.shipper import Shipper
from netlog.sinks.spooled import SpooledSink
from netlog.sinks.stream import StreamSink
from netlog.spool import Spool

__all__ = ["open_sinks", "wrong_sinks"]

FILE_SPOOL_BYTES = 64 << 20
"""The size of a file's spool, which holds hours of messages while the file cannot be written."""
DIGEST_CHARS = 12


def open_sinks(
    config: GatewayConfig,
    credentials: Sequence[Credentials],
    origin: str,
    stream: StreamSink | None = None,
) -> dict[str, Sink]:
    """Open every sink of a configuration. If one cannot be opened, none stays open.

    Args:
        config: the gateway. If its meter is in a file, each file sink gets a spool beside that
            file, so that it receives each message exactly once, even if the process is killed.
        credentials: the credentials of each sink, in the order of the sinks.
        origin: the name of the configuration's file in errors.
        stream: standard output, if several gateways share it; None: this gateway opens its own.

    Returns:
        The sinks by their names in reports.

    Raises:
        OSError: a file or a spool cannot be opened, or standard output is closed.
        ConfigError: a secret has a form that its receiver cannot accept.
        MissingExtraError: a sink needs a package that is not installed.

    Thread safety: any thread.
    """
    sinks: dict[str, Sink] = {}
    with contextlib.ExitStack() as stack:
        names = sink_names(config.sinks)
        for i, (name, sink) in enumerate(zip(names, config.sinks, strict=True)):
            if isinstance(sink, RemoteSinkConfig):
                shipper = _make_shipper(sink, credentials[i], f"{origin}: sinks[{i}]")
                spool = _open_spool(sink.spool, sink.spool_bytes, shipper)
                sinks[name] = SpooledSink(spool, shipper, node_id=config.node_id, name=name)
            else:
                sinks[name] = _local(name, sink, config, stream)
            stack.callback(sinks[name].close)
        stack.pop_all()
    return sinks


def wrong_sinks(
    config: GatewayConfig, credentials: Sequence[Credentials], origin: str
) -> Iterator[str]:
    """The errors for which `open_sinks` would fail, without opening anything.

    Args:
        config: the gateway.
        credentials: the credentials of each sink, in the order of the sinks.
        origin: the name of the configuration's file in errors.

    Thread safety: any thread.
    """
    for i, sink in enumerate(config.sinks):
        key = f"{origin}: sinks[{i}]"
        try:
            if isinstance(sink, RemoteSinkConfig):
                _make_shipper(sink, credentials[i], key).close()
            elif isinstance(sink, FileSinkConfig) and sink.compression == "zstd":
                load_zstd(PACKING)
        except ConfigError as error:
            yield str(error)
        except MissingExtraError as error:
            yield f"{key}: {error}"


def _local(name: str, sink: SinkConfig, config: GatewayConfig, stream: StreamSink | None) -> Sink:
    if not isinstance(sink, FileSinkConfig):
        if sys.stdout is None:
            raise OSError(errno.EBADF, "closed", name)
        return stream or StreamSink(sys.stdout)
    file = FileSink(sink.path, rotation=_rotation(sink))
    if config.meter is None:
        return file
    shipper = FileShipper(file)
    spool = _open_spool(_spool_of(sink.path, config.meter), FILE_SPOOL_BYTES, shipper)
    # No reopening is needed here: before each message, the file sink notices that its file was
    # renamed, and creates it again.
    return SpooledSink(spool, shipper, node_id=config.node_id, name=name)


def _open_spool(path: str | Path, max_bytes: int, shipper: Shipper) -> Spool:
    """Open a spool; if that fails, close the shipper."""
    try:
        return Spool(path, max_bytes=max_bytes)
    except ValueError as error:
        shipper.close()
        raise ConfigError(f"{path}: {error}") from error
    except BaseException:
        shipper.close()
        raise


def _spool_of(path: str, meter: str) -> Path:
    """The directory of a file's spool, in a directory beside the meter; its parents are created."""
    folder = Path(f"{meter}.spool")
    for each in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)
    # Symbolic links are not resolved: if a link changes its target, it is still the same sink.
    path = os.path.abspath(path)  # noqa: PTH100
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return folder / digest[:DIGEST_CHARS]


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


def _make_shipper(sink: RemoteSinkConfig, secrets: Credentials, key: str) -> Shipper:
    """Make the shipper that sends messages to a receiver; it sends nothing yet.

    Args:
        sink: the configuration of the sink.
        secrets: the sink's credentials.
        key: the name of the sink in errors: the configuration's file, and the key there.

    Raises:
        ConfigError: a secret or the file of certificates is invalid.
        MissingExtraError: a package is not installed.

    Thread safety: any thread.
    """
    try:
        return _made(sink, secrets)
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from None
    except OSError as error:
        # The errors of ssl are OSErrors too. Either way, the file of certificates is the reason.
        raise ConfigError(f"{key}.ca_file: {error.strerror or error}") from None


def _made(sink: RemoteSinkConfig, secrets: Credentials) -> Shipper:
    options: dict[str, Any] = {"ca_file": sink.ca_file, "proxy": _proxy_of(sink, secrets)}
    if isinstance(sink, HttpSinkConfig):
        from netlog.sinks.remote.logtail import LogtailShipper  # noqa: PLC0415 - needs urllib3

        copy_id = secrets.copy_id or None
        return LogtailShipper(sink.url, sink.collection, secrets.private_id, copy_id, **options)
    if isinstance(sink, HttpJsonSinkConfig):
        from netlog.sinks.remote.http_json import HttpJsonShipper  # noqa: PLC0415 - needs urllib3

        return HttpJsonShipper(sink.url, secrets.headers, sink.body, sink.compression, **options)
    if isinstance(sink, HecSinkConfig):
        from netlog.sinks.remote.hec import HecShipper  # noqa: PLC0415 - needs urllib3

        compression = sink.compression
        return HecShipper(
            sink.url, secrets.token, user=sink.user, compression=compression, **options
        )
    raise TypeError(f"unknown kind of sink: {type(sink).__name__}")


def _proxy_of(sink: RemoteSinkConfig, secrets: Credentials) -> str | Literal[False] | None:
    """The proxy of a sink as its shipper takes it."""
    if not sink.proxy:
        return None if sink.proxy is None else False
    if not secrets.proxy:
        return sink.proxy
    user, _, password = secrets.proxy.partition(":")
    known = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    return sink.proxy.replace("://", f"://{known}", 1)
