"""The nodes that a message must name, and how many bytes that takes."""

import numpy as np
import numpy.typing as npt

from netlog.messages.header import DST_NODES
from netlog.messages.node_numbers import NodeNumbers
from netlog.model.nodes import Node

__all__ = ["NamedNodes"]

# A comma, or the closing bracket, follows each node.
_OPENING_BYTES = len(DST_NODES)
_BEHIND_BYTES = 1

_MOST_BYTES = 2**63 - 1  # the greatest int64, to which it is compared


class NamedNodes:
    """Collects the nodes that each JSON object names, one object after the other.

    Args:
        table: all nodes.

    Thread safety: one thread.
    """

    __slots__ = ("_named", "_object", "_seen_in", "_table", "n_bytes")

    def __init__(self, table: NodeNumbers) -> None:
        self._table = table
        self._object = 0
        # For each node's number: the last object that names the node.
        self._seen_in = np.zeros(len(table.nodes) or 1, np.int64)
        self._named: list[npt.NDArray[np.uint32]] = []
        self.n_bytes = 0
        """The bytes of the member with the nodes of this object."""

    def begin(self) -> None:
        """Begin an object that names no nodes yet."""
        self._object += 1
        self._named = []
        self.n_bytes = 0
        self._seen_in[0] = self._object  # number 0 means no node, so it takes no bytes

    def admit(
        self, numbers: npt.NDArray[np.uint32], ends: npt.NDArray[np.uint64], room: int
    ) -> int:
        """Take as many entries as fit, together with the nodes that only they need.

        Args:
            numbers: the nodes of each entry, shape (n, 2); 0 means no node.
            ends: the number of bytes up to the end of each entry, shape (n,).
            room: the bytes for these entries and their new nodes.

        Returns:
            How many entries fit. Their nodes are named from now on.
        """
        flat = numbers.reshape(-1)
        fresh = np.flatnonzero(self._seen_in[flat] != self._object)
        unique, first = np.unique(flat[fresh], return_index=True)
        where = fresh[first]
        cost = np.zeros(len(flat), np.int64)
        cost[where] = self._table.n_bytes[unique] + _BEHIND_BYTES
        cost = cost.reshape(-1, 2).sum(axis=1).cumsum()
        if not self.n_bytes:
            cost[cost > 0] += _OPENING_BYTES
        room = min(room, _MOST_BYTES)
        count = int(np.searchsorted(ends.astype(np.int64) + cost, room, side="right"))
        if count:
            named = unique[where < 2 * count]
            self._seen_in[named] = self._object
            self._named.append(named)
            self.n_bytes += int(cost[count - 1])
        return count

    def nodes(self) -> tuple[Node, ...]:
        """The nodes of this object, sorted by id."""
        if not self._named:
            return ()
        nodes = self._table.nodes
        return tuple(nodes[number] for number in np.sort(np.concatenate(self._named)).tolist())
