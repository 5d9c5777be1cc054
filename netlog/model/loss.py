"""Loss, as it is told in the stream of messages itself."""

from typing import Self

import msgspec

from netlog.model.wire import well_formed

__all__ = ["Loss", "LossNotice"]


class Loss(msgspec.Struct, frozen=True):
    """Messages that were given up, and what their entries add up to.

    A stream of messages tells of it by an object without traffic, which readers of flow logs pass
    over: `{"nodeId":"a","dropped":{"messages":3,"packets":120,"bytes":64000}}`.
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
        """The object that tells of the loss.

        Args:
            node_id: whose messages they were; lone surrogates become U+FFFD.

        Returns:
            UTF-8 without insignificant white space.
        """
        counts = {"messages": self.messages, "packets": self.packets, "bytes": self.n_bytes}
        return msgspec.json.encode({"nodeId": well_formed(node_id), "dropped": counts})


class LossNotice(msgspec.Struct, frozen=True):
    """A loss in the place of a message, for a sink that stores messages and nothing else.

    Attributes:
        node_id: whose messages were lost.
        loss: what they add up to; if the notice is lost itself, that is lost with it.
    """

    node_id: str
    loss: Loss

    @property
    def packets(self) -> int:
        """As of a message."""
        return self.loss.packets

    @property
    def n_bytes(self) -> int:
        """As of a message."""
        return self.loss.n_bytes

    def to_json(self) -> bytes:
        """As of a message."""
        return self.loss.to_json(self.node_id)
