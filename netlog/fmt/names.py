"""What stands for an address or a node: itself, or what a message says of it."""

import enum

from netlog.fmt.record import FlowLog, Node, endpoint

__all__ = ["Names"]


class Names(enum.Enum):
    """What stands for an address that belongs to a node that the message names."""

    ADDRESS = "address"
    ID = "id"
    NAME = "name"
    USER = "user"

    def of(self, node: Node) -> str:
        """What stands for a node; "" if the message does not say that of it.

        For USER of a node that belongs to no user: its tags.
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
        """What stands for the node that reports: its id if there is nothing else."""
        return self.of(record.own) or record.node_id

    def of_end(self, record: FlowLog, text: str | None) -> str:
        """What stands for an end of a connection: "" if it has no address, no port if that is 0."""
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
