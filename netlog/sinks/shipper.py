"""What a spooled sink asks of the way that messages take out of the spool."""

from typing import TYPE_CHECKING, Protocol

from netlog.errors import NetlogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.spool import Record

__all__ = ["NotTaken", "Shipper"]


class NotTaken(NetlogError):  # noqa: N818 - it says what happened, as a clause in the caller
    """The other side did not take a batch; it stays in the spool.

    Args:
        reason: for the log and the counters; without secrets and control characters.
        retry_after_s: when the other side wants to be asked again; None: it did not say.
        refused: whether what was sent is at fault, so that a smaller batch may do.
    """

    def __init__(
        self, reason: str, retry_after_s: float | None = None, *, refused: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.refused = refused


class Shipper(Protocol):
    """Takes batches of records to where they are to go.

    Attributes:
        max_records: of a batch.
        max_bytes: of a batch; one record may have more.
        overhead_bytes: what each record has beside its payload.

    Thread safety: one thread, that of its sink; `interrupt` from any.
    """

    max_records: int
    max_bytes: int
    overhead_bytes: int

    def prepare(self, note: bytes) -> bytes:
        """Get ready for the next batch.

        Args:
            note: what was saved with the cursor last; b"" in a new spool.

        Returns:
            A note of at most 64 bytes; if it is another one it is saved before anything is shipped.

        Raises:
            OSError: it may be tried again.
        """

    def ship(self, records: "Sequence[Record]") -> bytes:
        """Ship a batch, all or nothing.

        Args:
            records: one or more, in order.

        Returns:
            A note to save together with the cursor.

        Raises:
            NotTaken: the other side has not taken it.
            OSError: it could not be shipped; the other side may have it all the same.
        """

    def interrupt(self) -> None:
        """Make a `ship` that is under way fail soon, if it can be done."""

    def close(self) -> None:
        """Give up what the shipper holds. Closing twice is fine."""
