"""What a spooled sink expects of the shipper that takes messages out of its spool."""

from typing import TYPE_CHECKING, Protocol

from netlog.errors import NetlogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlog.spool import Record

__all__ = ["NotTaken", "Shipper"]


class NotTaken(NetlogError):  # noqa: N818 - `except NotTaken` reads as what happened
    """The other side did not accept a batch; it stays in the spool.

    Args:
        reason: for the log and the counters; without secrets and control characters.
        retry_after_s: the wait that the other side asked for, in seconds; None: it did not ask.
        refused: whether the content is at fault, so that a smaller batch may be accepted.
    """

    def __init__(
        self, reason: str, retry_after_s: float | None = None, *, refused: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.refused = refused


class Shipper(Protocol):
    """Takes batches of records to their destination.

    Attributes:
        max_records: most records in a batch.
        max_bytes: most bytes in a batch; a single record may be longer.
        overhead_bytes: bytes that each record takes besides its payload.

    Thread safety: one thread, that of its sink; `interrupt` from any.
    """

    max_records: int
    max_bytes: int
    overhead_bytes: int

    def prepare(self, note: bytes) -> bytes:
        """Get ready for the next batch.

        Args:
            note: the note that was last saved with the cursor; b"" in a new spool.

        Returns:
            A note of at most 64 bytes. If it differs from `note`, it is saved before anything is
            shipped.

        Raises:
            OSError: it failed; the caller may try again.
        """

    def ship(self, records: "Sequence[Record]") -> bytes:
        """Ship a batch, all or nothing.

        Args:
            records: one or more, in order.

        Returns:
            A note to save together with the cursor.

        Raises:
            NotTaken: the other side did not accept the batch.
            OSError: shipping failed; the other side may have the batch nevertheless.
        """

    def interrupt(self) -> None:
        """Make a running `ship` fail soon, if possible."""

    def close(self) -> None:
        """Release what the shipper holds. Closing twice is fine."""
