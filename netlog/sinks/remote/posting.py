"""What the shippers over HTTP have in common. Needs urllib3."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netlog._version import __version__

if TYPE_CHECKING:
    from netlog.sinks.remote.transport import Answer, Transport

__all__ = ["BODY_BYTES", "MAX_RECORDS", "USER_AGENT", "PostShipper", "secret_words", "taken"]

BODY_BYTES = 1024 * 1024
"""Most bytes of a body with more than one entry: servers accept this by default."""
MAX_RECORDS = 1024
USER_AGENT = f"netlog/{__version__}"


class PostShipper:
    """A shipper that posts each batch over one transport, and keeps no note in the spool.

    Args:
        transport: the connection; closed with the shipper.

    Thread safety: as `Shipper`.
    """

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.name}>"

    def prepare(self, note: bytes) -> bytes:
        """See `Shipper`."""
        return note

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
