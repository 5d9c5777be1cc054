"""What a meter counted in one epoch, at both observation points."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from netlog._native import lib
from netlog.model.flows import FLOW_DTYPE, FlowArray
from netlog.model.rows import Rows

__all__ = ["NOTHING", "REASONS", "Retired", "Snapshot", "Unattributed"]

REASONS = ("malformed", "not_ip", "table_full")
"""Why a packet was counted without a connection, in the order of csrc/include/netlog.h."""


MAX_COUNT = (1 << 64) - 1
"""The greatest count of a row. Counters of a damaged file can have a greater sum."""


@dataclass(frozen=True, slots=True)
class Unattributed:
    """Packets that were counted without a connection.

    Attributes:
        by_reason: for each of `malformed`, `not_ip` and `table_full`:
            (tx_packets, tx_bytes, rx_packets, rx_bytes).
    """

    by_reason: dict[str, tuple[int, int, int, int]]

    def _sum(self, index: int) -> int:
        return sum(counts[index] for counts in self.by_reason.values())

    @property
    def tx_packets(self) -> int:
        """Packets from this node's stack into the tunnel, or datagrams out of the socket."""
        return self._sum(0)

    @property
    def tx_bytes(self) -> int:
        """Bytes of `tx_packets`."""
        return self._sum(1)

    @property
    def rx_packets(self) -> int:
        """Packets in the other direction."""
        return self._sum(2)

    @property
    def rx_bytes(self) -> int:
        """Bytes of `rx_packets`."""
        return self._sum(3)

    @property
    def packets(self) -> int:
        """Packets of both directions."""
        return self.tx_packets + self.rx_packets

    @property
    def bytes(self) -> int:
        """Bytes of both directions."""
        return self.tx_bytes + self.rx_bytes

    @classmethod
    def of(cls, counts: Any) -> "Unattributed":  # noqa: ANN401 - a struct of the core
        """Read a `struct netlog_unattributed`."""
        return cls(
            {
                name: (
                    counts.packets[number][lib.NETLOG_TX],
                    counts.bytes[number][lib.NETLOG_TX],
                    counts.packets[number][lib.NETLOG_RX],
                    counts.bytes[number][lib.NETLOG_RX],
                )
                for number, name in enumerate(REASONS)
            }
        )

    def as_row(self) -> FlowArray:
        """Return a row without addresses: FLOW_DTYPE, shape (1,), or (0,) without packets."""
        if not self.packets:
            return np.zeros(0, FLOW_DTYPE)
        row = np.zeros(1, FLOW_DTYPE)
        row["flags"] = lib.NETLOG_NO_SRC | lib.NETLOG_NO_DST
        for name in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes"):
            row[name] = min(getattr(self, name), MAX_COUNT)
        return row


NOTHING = Unattributed(dict.fromkeys(REASONS, (0, 0, 0, 0)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a meter counted in one epoch, at both observation points, taken with one store.

    Attributes:
        epoch: number of the epoch.
        tun: FLOW_DTYPE, shape (n,): the connections inside the tunnel.
        sock: FLOW_DTYPE, shape (m,): the datagrams that carried it, by remote endpoint.
        tun_unattributed: packets that crossed the TUN and have no connection.
        sock_unattributed: datagrams that crossed the socket and have no connection.
        late_lanes: how many writers were still inside a batch; their counts come with a later
            epoch.
    """

    epoch: int
    tun: FlowArray
    sock: FlowArray
    tun_unattributed: Unattributed
    sock_unattributed: Unattributed
    late_lanes: int

    def tun_rows(self) -> FlowArray:
        """Return `tun`, followed by a row without addresses for what is unattributed."""
        return _with_unattributed(self.tun, self.tun_unattributed)

    def sock_rows(self) -> FlowArray:
        """Return `sock`, followed by a row without addresses for what is unattributed."""
        return _with_unattributed(self.sock, self.sock_unattributed)


def _with_unattributed(rows: FlowArray, unattributed: Unattributed) -> FlowArray:
    # Copy only if there is something to append: there may be millions of rows.
    return np.concatenate((rows, unattributed.as_row())) if unattributed.packets else rows


@dataclass(frozen=True, slots=True)
class Retired:
    """What a meter counted in one epoch, still in its banks. The attributes are as in `Snapshot`.

    The rows include one without addresses for what is unattributed.
    """

    epoch: int
    tun: Rows
    sock: Rows
    tun_unattributed: Unattributed
    sock_unattributed: Unattributed
    late_lanes: int
