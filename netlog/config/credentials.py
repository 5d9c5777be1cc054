"""The secrets of a configuration's sinks, from files and from the environment.

A secret never appears in an error, a log line or a `repr`.
"""

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
from netlog.sinks.remote.proxy import is_this_machine

__all__ = ["Credentials", "every_credential", "read_credentials"]

_log = logging.getLogger("netlog")

MAX_SECRET_BYTES = 65536
"""No server accepts a header of this length, so a longer file is the wrong file."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets that one sink sends to its receiver. Those that it does not use are empty."""

    private_id: str = field(default="", repr=False)
    copy_id: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str = field(default="", repr=False)


def read_credentials(config: GatewayConfig, origin: str) -> tuple[Credentials, ...]:
    """Read the secrets of every sink, and check that its file of certificates can be read.

    netlog logs a warning for a secret's file that all users can read, and for an http URL.

    Args:
        config: the configuration.
        origin: the name of its file in errors.

    Returns:
        The credentials of each sink, in the order of the sinks.

    Raises:
        ConfigError: a file cannot be read, a variable is not set, or the content is not a secret.

    Thread safety: any thread.
    """
    found, wrong = every_credential(config, origin)
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def every_credential(
    config: GatewayConfig, origin: str
) -> tuple[tuple[Credentials, ...], tuple[str, ...]]:
    """As `read_credentials`, but returns the errors instead of raising them.

    Returns:
        The credentials of each sink, complete if there are no errors, and the errors.

    Thread safety: any thread.
    """
    found, wrong = [], []
    for i, sink in enumerate(config.sinks):
        credentials = Credentials()
        if isinstance(sink, RemoteSinkConfig):
            try:
                credentials = _of_a_sink(sink, f"{origin}: sinks[{i}]")
            except ConfigError as error:
                wrong.append(str(error))
        found.append(credentials)
    return tuple(found), tuple(wrong)


def _of_a_sink(sink: RemoteSinkConfig, key: str) -> Credentials:
    _look_at_transport(sink, key)
    proxy = _proxy_credentials(sink, key)
    if isinstance(sink, HttpSinkConfig):
        ids = dict(_given(sink, key, "private_id", "copy_id"))
        return Credentials(ids["private_id"], ids.get("copy_id", ""), proxy=proxy)
    if isinstance(sink, HecSinkConfig):
        return Credentials(token=dict(_given(sink, key, "token"))["token"], proxy=proxy)
    if isinstance(sink, HttpJsonSinkConfig):
        return Credentials(headers=dict(_headers(sink, key)), proxy=proxy)
    return Credentials(proxy=proxy)


def _proxy_credentials(sink: RemoteSinkConfig, key: str) -> str:
    """The user and the password for the proxy; "": none."""
    found = dict(_given(sink, key, "proxy_credentials")).get("proxy_credentials", "")
    if found and ":" not in found:
        raise ConfigError(f"{key}.proxy_credentials: expected user:password")
    return found


def _look_at_transport(sink: RemoteSinkConfig, key: str) -> None:
    """Warn about an http URL, and check that the file of certificates can be read."""
    url = urlsplit(sink.url)
    if url.scheme == "http" and not is_this_machine(url.hostname or ""):
        _log.warning("%s.url: http encrypts neither messages nor secrets: use https", key)
        if sink.proxy is None and "HTTP_PROXY" in os.environ and "http_proxy" not in os.environ:
            _log.warning("%s.proxy: HTTP_PROXY is not used: set http_proxy, in lower case", key)
    if sink.ca_file is not None:
        _read(f"{key}.ca_file", sink.ca_file)


def _given(sink: RemoteSinkConfig, key: str, *names: str) -> Iterator[tuple[str, str]]:
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
        _log.warning("%s: readable by all users: run chmod o= %s", key, path)
    if len(data) > MAX_SECRET_BYTES:
        raise ConfigError(f"{key}: expected a file of at most {MAX_SECRET_BYTES} bytes")
    try:
        return _checked(key, data.decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: expected a file with one line of text") from None


def _from_environment(key: str, variable: str) -> str:
    if variable not in os.environ:
        raise ConfigError(f"{key}: expected the environment variable {variable} to be set")
    return _checked(key, os.environ[variable])


def _checked(key: str, secret: str) -> str:
    """The secret, if a URL or a header can contain it."""
    if not secret.strip():
        raise ConfigError(f"{key}: expected a secret, got nothing")
    if not (secret.isascii() and secret.isprintable()):
        raise ConfigError(f"{key}: expected one line of printable ASCII")
    return secret


def _read(key: str, path: str) -> tuple[bytes, int]:
    """The content of a file, and its mode."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "the path is invalid"
        raise ConfigError(f"{key}: expected a readable file: {why}") from None
    return data, mode
