"""Secrets of a configuration's sinks, from files and from the environment.

They are never part of an error's text, a log line or a `repr`.
"""

import ipaddress
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from netlog.config.gateway import GatewayConfig
from netlog.config.sinks import HecSinkConfig, HttpJsonSinkConfig, HttpSinkConfig, RemoteSinkConfig
from netlog.errors import ConfigError

__all__ = ["Credentials", "read_credentials"]

_log = logging.getLogger("netlog")

MAX_SECRET_BYTES = 65536
"""Longer than any header that a server takes: it would be the wrong file."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one sink shows to its receiver; what it does not need is empty."""

    private_id: str = field(default="", repr=False)
    copy_id: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_credentials(config: GatewayConfig, origin: str) -> tuple[Credentials, ...]:
    """Read the secrets of every sink, and see whether its certificates can be read.

    A file that others can read is a warning, and so is a URL that is not encrypted.

    Args:
        config: the configuration.
        origin: what error messages call its file.

    Returns:
        One for each sink, in their order.

    Raises:
        ConfigError: a file can not be read, a variable is not set, or what is there is no secret.

    Thread safety: any thread.
    """
    found = []
    for i, sink in enumerate(config.sinks):
        key = f"{origin}: sinks[{i}]"
        if isinstance(sink, RemoteSinkConfig):
            _look_at_transport(sink, key)
        if isinstance(sink, HttpSinkConfig):
            ids = dict(_given(sink, key, "private_id", "copy_id"))
            found.append(Credentials(ids["private_id"], ids.get("copy_id", "")))
        elif isinstance(sink, HecSinkConfig):
            found.append(Credentials(token=dict(_given(sink, key, "token"))["token"]))
        elif isinstance(sink, HttpJsonSinkConfig):
            found.append(Credentials(headers=dict(_headers(sink, key))))
        else:
            found.append(Credentials())
    return tuple(found)


def _look_at_transport(sink: RemoteSinkConfig, key: str) -> None:
    """Say that http hides nothing, and see whether the certificates can be read."""
    url = urlsplit(sink.url)
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        _log.warning("%s.url: http hides neither messages nor secrets, https does", key)
    if sink.ca_file is not None:
        _read(f"{key}.ca_file", sink.ca_file)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _given(
    sink: HttpSinkConfig | HecSinkConfig, key: str, *names: str
) -> Iterator[tuple[str, str]]:
    for name in names:
        if (path := getattr(sink, f"{name}_file")) is not None:
            yield name, _from_file(f"{key}.{name}_file", path)
        elif (variable := getattr(sink, f"{name}_env")) is not None:
            yield name, _from_environment(f"{key}.{name}_env", variable)


def _headers(sink: HttpJsonSinkConfig, key: str) -> Iterator[tuple[str, str]]:
    yield from sink.headers.items()
    for name, path in sink.header_files.items():
        yield name, _from_file(f"{key}.header_files.{name}", path)
    for name, variable in sink.header_env.items():
        yield name, _from_environment(f"{key}.header_env.{name}", variable)


def _from_file(key: str, path: str) -> str:
    data, mode = _read(key, path)
    if mode & stat.S_IROTH:
        _log.warning("%s: others can read the file: chmod o= %s", key, path)
    if len(data) > MAX_SECRET_BYTES:
        raise ConfigError(f"{key}: expected a file of at most {MAX_SECRET_BYTES} bytes")
    try:
        return _checked(key, data.decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: expected a file with one line of text") from None


def _from_environment(key: str, variable: str) -> str:
    if variable not in os.environ:
        raise ConfigError(f"{key}: expected the variable {variable} to be set")
    return _checked(key, os.environ[variable])


def _checked(key: str, secret: str) -> str:
    """The secret, if it is one that can stand in a URL or a header."""
    if not secret.strip():
        raise ConfigError(f"{key}: expected a secret, there is nothing")
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"{key}: expected one line of printable ASCII")
    return secret


def _read(key: str, path: str) -> tuple[bytes, int]:
    """A file's content and mode."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name is none"
        raise ConfigError(f"{key}: expected a readable file: {why}") from None
    return data, mode
