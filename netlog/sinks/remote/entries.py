"""Turn records into entries of a body: the message, with an identity to recognise duplicates."""

from typing import TYPE_CHECKING

from netlog.model.times import format_rfc3339

if TYPE_CHECKING:
    from netlog.spool import Record

__all__ = ["OVERHEAD_BYTES", "with_identity"]

OVERHEAD_BYTES = 112
"""Most bytes that the identity adds: its name, a time, two numbers and a comma."""


def with_identity(record: "Record") -> bytes:
    """Return the payload as an object whose first member is `logtail`.

    Readers of flow logs know that member, because Tailscale's own entries have it. A receiver that
    has an entry of the same node with the same `proc_id` and `proc_seq` can drop this one.

    Args:
        record: its payload is a JSON object.

    Returns:
        UTF-8 without insignificant white space.

    Source: Tailscale's logtail/api.md.
    """
    rest = record.payload[1:]
    comma = b"" if rest.startswith(b"}") else b","
    identity = b'{"logtail":{"client_time":"%s","proc_id":%d,"proc_seq":%d}' % (
        format_rfc3339(record.client_time_ns).encode(),
        record.proc_id,
        record.proc_seq,
    )
    return identity + comma + rest
