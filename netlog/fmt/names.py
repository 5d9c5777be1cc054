"""How addresses and nodes are shown: as they are, or by what the message says about the node."""

import enum

from netlog.fmt.record import FlowLog, Node, endpoint

__all__ = ["Names"]


class Names(enum.Enum):
    """How to show an address of a node that the message names."""

    ADDRESS = "address"
    ID = "id"
    NAME = "name"
    USER = "user"

    def of(self, node: Node) -> str:
        """The text for a node; "" if the message does not have it.

        With USER, a node without a user is shown by its tags.
        """
        match self:
            case Names.ID:
                return node.node_id
            case Names.NAME:
                return (node.name or "").rstrip(".")
            case Names.USER:
                return node.user or ",".join(node.tags or ())
        return ""

    def of_reporter(self, record: FlowLog) -> str:
        """The text for the node that reports; its id if there is no other."""
        return self.of(record.own) or record.node_id

    def of_end(self, record: FlowLog, text: str | None) -> str:
        """The text for an end of a connection; "" without an address. Port 0 is left out."""
        if not text:
            return ""
        if self is Names.ADDRESS:
            return text[:-2].strip("[]") if text.endswith(":0") else text
        end = endpoint(text)
        if end.address is None:
            return text
        node = record.node_at(end)
        name = self.of(node) if node is not None else ""
        if not end.port:
            return name or end.host
        return f"{name}:{end.port}" if name else text
