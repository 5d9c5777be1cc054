"""Uploads to a server that takes JSON over HTTP. Needs urllib3."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netlog._version import __version__
from netlog.sinks.remote.entries import OVERHEAD_BYTES, with_identity
from netlog.sinks.remote.packing import check_compression, pack
from netlog.sinks.remote.transport import Timeouts, Transport, check_headers, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.sinks.remote.transport import Answer
    from netlog.spool import Record

__all__ = ["BODIES", "BODY_BYTES", "MAX_RECORDS", "HttpJsonShipper", "secret_words", "taken"]

BODIES = {"ndjson": "application/x-ndjson", "array": "application/json"}
BODY_BYTES = 1024 * 1024
"""Most bytes of a body with more than one entry: servers accept this by default."""
MAX_RECORDS = 1024
USER_AGENT = f"netlog/{__version__}"


class HttpJsonShipper:
    """Posts messages as JSON lines or as an array. Any 2xx is success.

    Each object begins with a `logtail` member, with which a receiver can drop duplicates.

    Args:
        url: where to post, including a query if the receiver needs one.
        headers: sent with each request, such as `Authorization`.
        body: `ndjson`: one line for each message; `array`: one JSON array.
        compression: `none`, `gzip` or `zstd`.
        ca_file: PEM certificates to trust instead of the system's.
        timeouts: for each attempt.

    Raises:
        ValueError: an argument is invalid; the text does not contain a header's value.
        OSError: the certificate file cannot be used.
        MissingExtraError: no zstd module is installed.

    Thread safety: as `Shipper`.
    """

    max_records = MAX_RECORDS
    max_bytes = BODY_BYTES
    overhead_bytes = OVERHEAD_BYTES

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str = "ndjson",
        compression: str = "none",
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
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
        self._transport = Transport(url, ca_file=ca_file, timeouts=timeouts, secrets=secrets)

    def __repr__(self) -> str:
        return f"<HttpJsonShipper {self._transport.name}>"

    def prepare(self, note: bytes) -> bytes:
        """See `Shipper`."""
        return note

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

    def interrupt(self) -> None:
        """See `Shipper`."""
        self._transport.interrupt()

    def close(self) -> None:
        """See `Shipper`."""
        self._transport.close()


def taken(answer: "Answer") -> None:
    """Raise NotTaken unless the answer is a 2xx."""
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        raise answer.not_taken()


def secret_words(target: str, headers: Mapping[str, str]) -> list[str]:
    """Return the parts of a request to remove from errors, in case the other side repeats them."""
    words = [target, *headers.values()]
    for value in headers.values():
        words += value.split()
    query = target.partition("?")[2]
    words += [query, *(member.partition("=")[2] for member in query.split("&"))]
    return sorted(words, key=len, reverse=True)
