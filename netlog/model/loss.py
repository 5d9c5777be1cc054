"""Loss of messages, and how the stream of messages reports it."""

from typing import Self

import msgspec

from netlog.model.wire import well_formed

__all__ = ["Loss", "LossNotice"]


class Loss(msgspec.Struct, frozen=True):
    """The number of messages that were dropped, and the sums over their entries.

    A stream of messages reports a loss as an object without traffic, which readers of flow logs
    ignore: `{"nodeId":"a","dropped":{"messages":3,"packets":120,"bytes":64000}}`.
    """

    messages: int = 0
    packets: int = 0
    n_bytes: int = 0

    def __add__(self, other: Self) -> "Loss":
        return Loss(
            self.messages + other.messages,
            self.packets + other.packets,
            self.n_bytes + other.n_bytes,
        )

    def __bool__(self) -> bool:
        return self.messages > 0

    def to_json(self, node_id: str) -> bytes:
        """The object that reports the loss.

        Args:
            node_id: the node whose messages were lost; lone surrogates become U+FFFD.

        Returns:
            UTF-8 without insignificant white space.
        """
        counts = {"messages": self.messages, "packets": self.packets, "bytes": self.n_bytes}
        return msgspec.json.encode({"nodeId": well_formed(node_id), "dropped": counts})


class LossNotice(msgspec.Struct, frozen=True):
    """A loss with the methods of a message, for a sink that can store only messages.

    Attributes:
        node_id: the node whose messages were lost.
        loss: the number of messages and their sums. If this notice is lost too, they count again as
            a loss.
    """

    node_id: str
    loss: Loss

    @property
    def packets(self) -> int:
        """The packets of the lost messages."""
        return self.loss.packets

    @property
    def n_bytes(self) -> int:
        """The bytes of the lost messages."""
        return self.loss.n_bytes

    def to_json(self) -> bytes:
        """The object that reports the loss."""
        return self.loss.to_json(self.node_id)
