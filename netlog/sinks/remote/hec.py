"""Uploads to a server that takes events like Splunk's HTTP Event Collector. Needs urllib3."""

import base64
from typing import TYPE_CHECKING

import msgspec

from netlog.model.times import format_rfc3339, parse_rfc3339
from netlog.sinks.remote.entries import OVERHEAD_BYTES, with_identity
from netlog.sinks.remote.headers import check_headers
from netlog.sinks.remote.packing import check_compression, pack
from netlog.sinks.remote.posting import (
    BODY_BYTES,
    MAX_RECORDS,
    USER_AGENT,
    PostShipper,
    secret_words,
    taken,
)
from netlog.sinks.remote.transport import Timeouts, Transport, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.sinks.remote.transport import ProxyChoice
    from netlog.spool import Record

__all__ = ["HecShipper"]

DEFAULT_PATH = "/services/collector/event"
ENVELOPE_BYTES = 128
"""Most bytes of an event besides the message and its identity."""


class _EventTimes(msgspec.Struct):
    end: str = ""


class HecShipper(PostShipper):
    """Posts messages as events, one after the other without a separator. Any 2xx is success.

    The time of an event is the end of the message's period; `fields.recorded` is when the message
    was built. The event has a `logtail` member, with which a receiver can drop duplicates.

    Args:
        url: of the server. If it has no path, the path is the usual `/services/collector/event`.
        token: of the collector.
        user: send the token as this user's password (HTTP Basic); None: as `Splunk TOKEN`.
        compression: `none`, `gzip` or `zstd`.
        ca_file: PEM certificates to trust instead of the system's.
        timeouts: for each attempt.
        proxy: the URL of a proxy; False: none; None: that of the environment.

    Raises:
        ValueError: an argument is invalid; the text does not contain the token.
        OSError: the certificate file cannot be used.
        MissingExtraError: no zstd module is installed.

    Thread safety: as `Shipper`.
    Source: what Tailscale's log streaming sends to Splunk.
    """

    max_records = MAX_RECORDS
    max_bytes = BODY_BYTES
    overhead_bytes = OVERHEAD_BYTES + ENVELOPE_BYTES

    def __init__(  # noqa: PLR0913 - as a sink's keys in a configuration
        self,
        url: str,
        token: str,
        *,
        user: str | None = None,
        compression: str = "none",
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        proxy: "ProxyChoice" = None,
    ) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("token: expected printable ASCII without spaces")
        check_compression(compression)
        path = path_of(url)
        self._target = DEFAULT_PATH + path[1:] if path == "/" or path.startswith("/?") else path
        value = f"Splunk {token}"
        if user is not None:
            value = "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()
        secret = {"Authorization": value}
        check_headers(secret)
        self._compression = compression
        self._headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
        self._headers |= secret
        if compression != "none":
            self._headers["Content-Encoding"] = compression
        words = [token, *secret_words(self._target, secret)]
        super().__init__(
            Transport(url, ca_file=ca_file, timeouts=timeouts, secrets=words, proxy=proxy)
        )

    def ship(self, records: "Sequence[Record]") -> bytes:
        """See `Shipper`."""
        body = pack(b"".join(map(_event, records)), self._compression)
        taken(self._transport.post(self._target, body, self._headers))
        return b""


def _event(record: "Record") -> bytes:
    return b'{"time":%s,"event":%s,"fields":{"recorded":"%s"}}' % (
        _seconds(_end_ns(record)),
        with_identity(record),
        format_rfc3339(record.client_time_ns).encode(),
    )


def _end_ns(record: "Record") -> int:
    """Return the end of the period. A report of a loss has no period: then when it was built."""
    try:
        end = msgspec.json.decode(record.payload, type=_EventTimes).end
        return parse_rfc3339(end)
    except (msgspec.DecodeError, ValueError):
        return record.client_time_ns


def _seconds(ns: int) -> bytes:
    """Format as a JSON number with all nine digits of the fraction; a float has too few."""
    sign, (seconds, fraction) = b"-" if ns < 0 else b"", divmod(abs(ns), 1_000_000_000)
    digits = b"%09d" % fraction
    return sign + b"%d.%s" % (seconds, digits.rstrip(b"0") or b"0")
