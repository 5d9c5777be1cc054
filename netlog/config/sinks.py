"""The `[[sinks]]` of a configuration: the destinations of messages."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from netlog.config.values import EnvironmentName, ProxyUrl, Size, Text, Url
from netlog.sinks.remote.headers import is_header_name, is_header_value

__all__ = [
    "ConfigTable",
    "FileSinkConfig",
    "HecSinkConfig",
    "HttpJsonSinkConfig",
    "HttpSinkConfig",
    "RemoteSinkConfig",
    "SinkConfig",
    "StdoutSinkConfig",
    "doubles",
    "sink_contradictions",
    "sink_names",
]

STDOUT = "standard output"
SPOOL_BYTES = 256 << 20
"""A day of messages of 15 KiB, one every five seconds."""
MIN_SPOOL_BYTES = 1 << 20
"""Four messages of the greatest default size."""
OUR_HEADERS = ("content-encoding", "content-length", "host", "transfer-encoding")

WebCompression = Literal["zstd", "gzip", "none"]


class ConfigTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base class of every table in the file."""


class StdoutSinkConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, tag="stdout"):
    """`stdout`: JSON lines on standard output."""


class FileSinkConfig(
    ConfigTable, frozen=True, forbid_unknown_fields=True, tag="file", kw_only=True
):
    """`file`: JSON lines, appended to a file, which may be rotated."""

    path: Text
    rotate_bytes: Size | None = None
    rotate_age_s: Annotated[float, msgspec.Meta(ge=1)] | None = None
    keep: Annotated[int, msgspec.Meta(ge=1)] | None = None
    keep_bytes: Size | None = None
    compression: Literal["zstd", "none"] = "none"


class RemoteSinkConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of every sink that sends to a receiver, with a spool for times when it is down."""

    url: Url
    spool: Text
    spool_bytes: Size = Size(SPOOL_BYTES)
    ca_file: Text | None = None
    proxy: ProxyUrl | None = None
    proxy_credentials_file: Text | None = None
    proxy_credentials_env: EnvironmentName | None = None


class HttpSinkConfig(
    RemoteSinkConfig, frozen=True, forbid_unknown_fields=True, tag="http", kw_only=True
):
    """`http`: the logtail protocol."""

    collection: Text
    private_id_file: Text | None = None
    private_id_env: EnvironmentName | None = None
    copy_id_file: Text | None = None
    copy_id_env: EnvironmentName | None = None


class HttpJsonSinkConfig(
    RemoteSinkConfig, frozen=True, forbid_unknown_fields=True, tag="http-json", kw_only=True
):
    """`http-json`: POST to any server that accepts JSON."""

    headers: dict[str, str] = {}
    header_files: dict[str, Text] = {}
    header_env: dict[str, EnvironmentName] = {}
    body: Literal["ndjson", "array"] = "ndjson"
    compression: WebCompression = "none"


class HecSinkConfig(
    RemoteSinkConfig, frozen=True, forbid_unknown_fields=True, tag="hec", kw_only=True
):
    """`hec`: Splunk's HTTP event collector."""

    token_file: Text | None = None
    token_env: EnvironmentName | None = None
    user: Text | None = None
    compression: WebCompression = "none"


SinkConfig = StdoutSinkConfig | FileSinkConfig | HttpSinkConfig | HttpJsonSinkConfig | HecSinkConfig


def sink_names(sinks: Sequence[SinkConfig]) -> list[str]:
    """The sinks' names in reports: the destination, and the spool if destinations are the same.

    Thread safety: any thread.
    """
    places = [_place(sink) for sink in sinks]
    return [
        f"{place} ({sink.spool})"
        if isinstance(sink, RemoteSinkConfig) and places.count(place) > 1
        else place
        for place, sink in zip(places, sinks, strict=True)
    ]


def _place(sink: SinkConfig) -> str:
    if isinstance(sink, StdoutSinkConfig):
        return STDOUT
    if isinstance(sink, FileSinkConfig):
        return sink.path
    # Without the query of the URL, which may contain a credential.
    base = sink.url.partition("?")[0].rstrip("/")
    return f"{base}/c/{sink.collection}" if isinstance(sink, HttpSinkConfig) else base


def sink_contradictions(sinks: Sequence[SinkConfig]) -> Iterator[str]:
    """Errors of keys of sinks that contradict each other."""
    yield from doubles(
        "sinks",
        ["stdout" if isinstance(sink, StdoutSinkConfig) else _own_path(sink) for sink in sinks],
    )
    yield from doubles(
        "sinks",
        [os.path.normpath(getattr(sink, "spool", "")).strip(".") for sink in sinks],
        ".spool",
    )
    for i, sink in enumerate(sinks):
        for wrong in _wrong(sink):
            yield f"sinks[{i}].{wrong}"


def _own_path(sink: SinkConfig) -> str:
    return os.path.normpath(sink.path) if isinstance(sink, FileSinkConfig) else ""


def _wrong(sink: SinkConfig) -> Iterator[str]:
    """Errors of keys that contradict each other within one sink."""
    if isinstance(sink, FileSinkConfig):
        rotates = sink.rotate_bytes is not None or sink.rotate_age_s is not None
        for key in ("keep", "keep_bytes", "compression"):
            if getattr(sink, key) not in (None, "none") and not rotates:
                yield f"{key}: expected only with rotate_bytes or rotate_age_s"
    elif isinstance(sink, HttpSinkConfig):
        yield from _one_secret(sink, "private_id")
        if sink.copy_id_file or sink.copy_id_env:
            yield from _one_secret(sink, "copy_id")
    elif isinstance(sink, HecSinkConfig):
        yield from _one_secret(sink, "token")
    elif isinstance(sink, HttpJsonSinkConfig):
        yield from _wrong_headers(sink)
    if isinstance(sink, RemoteSinkConfig):
        if sink.spool_bytes < MIN_SPOOL_BYTES:
            yield f"spool_bytes: expected at least {MIN_SPOOL_BYTES} (1MiB), got {sink.spool_bytes}"
        yield from _wrong_proxy(sink)


def _wrong_proxy(sink: RemoteSinkConfig) -> Iterator[str]:
    if sink.proxy_credentials_file or sink.proxy_credentials_env:
        yield from _one_secret(sink, "proxy_credentials")
        if not sink.proxy:
            yield "proxy_credentials: expected only with the URL of a proxy in proxy"


def _one_secret(sink: RemoteSinkConfig, name: str) -> Iterator[str]:
    given = [getattr(sink, f"{name}_{source}") is not None for source in ("file", "env")]
    if sum(given) != 1:
        which = "both" if all(given) else "neither"
        yield f"{name}_file: expected either this or {name}_env, got {which}"


def _wrong_headers(sink: HttpJsonSinkConfig) -> Iterator[str]:
    tables: dict[str, Mapping[str, str]] = {
        "headers": sink.headers,
        "header_files": sink.header_files,
        "header_env": sink.header_env,
    }
    owners: dict[str, str] = {}
    for table, name in itertools.chain.from_iterable(
        zip(itertools.repeat(table), names) for table, names in tables.items()
    ):
        first = owners.setdefault(name.lower(), f"{table}.{name}")
        if not is_header_name(name):
            yield f"{table}: expected the name of an HTTP header, got {name!r}"
        elif name.lower() in OUR_HEADERS:
            yield f"{table}.{name}: expected another header, netlog sets this one itself"
        elif first != f"{table}.{name}":
            yield f"{table}.{name}: expected each header once, but it is also in {first}"
    for name, value in sink.headers.items():
        if not is_header_value(value):
            yield f"headers.{name}: expected printable ASCII"


def doubles(key: str, values: Sequence[str], member: str = "") -> Iterator[str]:
    """Errors of values that must differ and do not; "" stands for no value."""
    seen: dict[str, int] = {}
    for i, value in enumerate(values):
        if value and seen.setdefault(value, i) != i:
            first = f"{key}[{seen[value]}]{member}"
            yield f"{key}[{i}]{member}: expected a unique value, but {value!r} is also in {first}"
