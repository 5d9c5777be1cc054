"""Uploads to a server that takes events as Splunk's HTTP Event Collector does. Needs urllib3."""

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

    from netlog.spool import Record

__all__ = ["HecShipper"]

DEFAULT_PATH = "/services/collector/event"
ENVELOPE_BYTES = 128
"""Of an event beside the message and its identity, at most."""


class _EventTimes(msgspec.Struct):
    end: str = ""


class HecShipper(PostShipper):
    """Posts messages as events, one after the other without a separator. Any 2xx is success.

    The time of an event is the end of the message's period; `fields.recorded` says when the
    message was made. The event has a `logtail` member, by which a receiver can drop duplicates.

    Args:
        url: of the server; without a path, the usual `/services/collector/event`.
        token: of the collector.
        user: send the token as this user's password (HTTP Basic); None: as `Splunk TOKEN`.
        compression: `none`, `gzip` or `zstd`.
        ca_file: certificates to trust instead of the system's; PEM.
        timeouts: of each try.

    Raises:
        ValueError: an argument will not do; the token is not repeated in the text.
        OSError: the file of certificates can not be used.
        MissingExtraError: zstd is not there.

    Thread safety: as `Shipper`.
    Source: what Tailscale's log streaming sends to Splunk.
    """

    max_records = MAX_RECORDS
    max_bytes = BODY_BYTES
    overhead_bytes = OVERHEAD_BYTES + ENVELOPE_BYTES

    def __init__(
        self,
        url: str,
        token: str,
        *,
        user: str | None = None,
        compression: str = "none",
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
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
        super().__init__(Transport(url, ca_file=ca_file, timeouts=timeouts, secrets=words))

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
    """The end of the period; what tells of a loss has none."""
    try:
        end = msgspec.json.decode(record.payload, type=_EventTimes).end
        return parse_rfc3339(end)
    except (msgspec.DecodeError, ValueError):
        return record.client_time_ns


def _seconds(ns: int) -> bytes:
    """As a number of JSON with all its digits, which a float has not."""
    sign, (seconds, fraction) = b"-" if ns < 0 else b"", divmod(abs(ns), 1_000_000_000)
    digits = b"%09d" % fraction
    return sign + b"%d.%s" % (seconds, digits.rstrip(b"0") or b"0")
