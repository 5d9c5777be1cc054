"""Uploads like those of Tailscale's clients. Needs urllib3."""

import re
from typing import TYPE_CHECKING

from netlog.sinks.remote.entries import OVERHEAD_BYTES, with_identity
from netlog.sinks.remote.log_ids import check_private_id
from netlog.sinks.remote.packing import check_compression, pack
from netlog.sinks.remote.posting import MAX_RECORDS, PostShipper
from netlog.sinks.remote.transport import Timeouts, Transport, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.sinks.remote.transport import ProxyChoice
    from netlog.spool import Record

__all__ = ["LogtailShipper"]

BODY_BYTES = 256 * 1024
"""Most bytes of a body with more than one entry. Source: Tailscale's logtail."""
MIN_PACKED_BYTES = 256
MIN_SAVED_BYTES = 64
"""A body is compressed only if it is longer than MIN_PACKED_BYTES and compressing saves more than
MIN_SAVED_BYTES. Source: logtail."""
OK = 200
COLLECTION = re.compile(r"[0-9A-Za-z][-._0-9A-Za-z]*")


class LogtailShipper(PostShipper):
    """Posts JSON arrays to a logtail server.

    Only status 200 is success. A batch that was not accepted is sent again unchanged.

    Args:
        base_url: of the server, such as `https://log.example.com`.
        collection: the kind of log, such as `tailtraffic.log.tailscale.io`.
        private_id: names the log and permits writing to it.
        copy_id: private id of a second log that gets these messages too.
        ca_file: PEM certificates to trust instead of the system's.
        timeouts: for each attempt.
        proxy: the URL of a proxy; False: none; None: that of the environment.

    Raises:
        ValueError: an argument is invalid; the text contains no id.
        OSError: the certificate file cannot be used.
        MissingExtraError: urllib3 or zstd is not installed; the text names the extra to install.

    Thread safety: as `Shipper`.
    Source: Tailscale's logtail/api.md and logtail.go.
    """

    max_records = MAX_RECORDS
    max_bytes = BODY_BYTES - len("[]")
    overhead_bytes = OVERHEAD_BYTES

    def __init__(  # noqa: PLR0913 - as a sink's keys in a configuration
        self,
        base_url: str,
        collection: str,
        private_id: str,
        copy_id: str | None = None,
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        proxy: "ProxyChoice" = None,
    ) -> None:
        if not COLLECTION.fullmatch(collection):
            raise ValueError(f"collection: expected a name such as a.example.com: {collection!r}")
        private_id = check_private_id(private_id, "private_id")
        self._target = f"{path_of(base_url).rstrip('/')}/c/{collection}/{private_id}"
        ids = [private_id]
        if copy_id is not None:
            ids.append(check_private_id(copy_id, "copy_id"))
            self._target += f"?copyId={ids[1]}"
        check_compression("zstd")
        super().__init__(
            Transport(base_url, ca_file=ca_file, timeouts=timeouts, secrets=ids, proxy=proxy)
        )

    def ship(self, records: "Sequence[Record]") -> bytes:
        """See `Shipper`."""
        body = b"[" + b",".join(map(with_identity, records)) + b"]"
        headers = {"Content-Type": "application/json"}
        if len(body) > MIN_PACKED_BYTES:
            packed = pack(body, "zstd")
            if len(body) - len(packed) > MIN_SAVED_BYTES:
                headers["Content-Encoding"] = "zstd"
                headers["Orig-Content-Length"] = str(len(body))
                body = packed
        answer = self._transport.post(self._target, body, headers)
        if answer.status != OK:
            raise answer.not_taken()
        return b""
