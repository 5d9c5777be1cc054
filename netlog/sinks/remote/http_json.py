"""Uploads to a server that takes JSON over HTTP. Needs urllib3."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

__all__ = ["BODIES", "HttpJsonShipper"]

BODIES = {"ndjson": "application/x-ndjson", "array": "application/json"}


class HttpJsonShipper(PostShipper):
    """Posts messages as JSON lines or as an array. Any 2xx is success.

    Each object begins with a `logtail` member, with which a receiver can drop duplicates.

    Args:
        url: where to post, including a query if the receiver needs one.
        headers: sent with each request, such as `Authorization`.
        body: `ndjson`: one line for each message; `array`: one JSON array.
        compression: `none`, `gzip` or `zstd`.
        ca_file: PEM certificates to trust instead of the system's.
        timeouts: for each attempt.
        proxy: the URL of a proxy; False: none; None: that of the environment.

    Raises:
        ValueError: an argument is invalid; the text does not contain a header's value.
        OSError: the certificate file cannot be used.
        MissingExtraError: no zstd module is installed.

    Thread safety: as `Shipper`.
    """

    max_records = MAX_RECORDS
    max_bytes = BODY_BYTES
    overhead_bytes = OVERHEAD_BYTES

    def __init__(  # noqa: PLR0913 - as a sink's keys in a configuration
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str = "ndjson",
        compression: str = "none",
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        proxy: "ProxyChoice" = None,
    ) -> None:
        if body not in BODIES:
            raise ValueError(f"body: expected one of {', '.join(BODIES)}, got {body!r}")
        headers = headers or {}
        check_headers(headers)
        check_compression(compression)
        self._target = path_of(url)
        self._array = body == "array"
        self._compression = compression
        self._headers = {"User-Agent": USER_AGENT, "Content-Type": BODIES[body], **headers}
        if compression != "none":
            self._headers["Content-Encoding"] = compression
        secrets = secret_words(self._target, headers)
        super().__init__(
            Transport(url, ca_file=ca_file, timeouts=timeouts, secrets=secrets, proxy=proxy)
        )

    def ship(self, records: "Sequence[Record]") -> bytes:
        """See `Shipper`."""
        entries = map(with_identity, records)
        if self._array:
            body = b"[" + b",".join(entries) + b"]"
        else:
            body = b"".join(entry + b"\n" for entry in entries)
        body = pack(body, self._compression)
        taken(self._transport.post(self._target, body, self._headers))
        return b""
