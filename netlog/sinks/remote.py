"""The shippers that a configuration asks for, each imported when it is asked for."""

from typing import TYPE_CHECKING

from netlog.credentials import Credentials
from netlog.errors import ConfigError
from netlog.sink_config import HecSinkConfig, HttpJsonSinkConfig, HttpSinkConfig, RemoteSinkConfig

if TYPE_CHECKING:
    from netlog.sinks.shipper import Shipper

__all__ = ["make_shipper"]


def make_shipper(sink: RemoteSinkConfig, secrets: Credentials, key: str) -> "Shipper":
    """Make what takes messages to a receiver; nothing is sent yet.

    Args:
        sink: the receiver.
        secrets: what is shown to it.
        key: what errors call the sink: the configuration's file, and the key there.

    Raises:
        ConfigError: a secret or the file of certificates is none.
        MissingExtraError: a package is not there.

    Thread safety: any thread.
    """
    try:
        return _made(sink, secrets)
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from None
    except OSError as error:
        # ssl's own errors are OSErrors too, and about the certificates.
        raise ConfigError(f"{key}.ca_file: {error.strerror or error}") from None


def _made(sink: RemoteSinkConfig, secrets: Credentials) -> "Shipper":
    if isinstance(sink, HttpSinkConfig):
        from netlog.sinks.logtail import LogtailShipper  # noqa: PLC0415 - needs urllib3

        copy_id = secrets.copy_id or None
        return LogtailShipper(
            sink.url, sink.collection, secrets.private_id, copy_id, ca_file=sink.ca_file
        )
    if isinstance(sink, HttpJsonSinkConfig):
        from netlog.sinks.http_json import HttpJsonShipper  # noqa: PLC0415 - needs urllib3

        return HttpJsonShipper(
            sink.url, secrets.headers, sink.body, sink.compression, ca_file=sink.ca_file
        )
    if isinstance(sink, HecSinkConfig):
        from netlog.sinks.hec import HecShipper  # noqa: PLC0415 - needs urllib3

        return HecShipper(
            sink.url,
            secrets.token,
            user=sink.user,
            compression=sink.compression,
            ca_file=sink.ca_file,
        )
    raise TypeError(f"no such sink: {type(sink).__name__}")
