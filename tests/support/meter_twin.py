"""The slow twin of a meter: a dict per observation point, and what came back as rows made plain."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import netlog
from tests.support.decoder import Connection, Count, Reason, count_packet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy as np

    from netlog.meter.snapshot import Unattributed
    from tests.support.decoder import Address

__all__ = ["NOTHING", "Counts", "MeterTwin", "connections"]

NO_SRC, NO_DST = 1, 2
MAPPED = bytes(10) + b"\xff\xff"

Counts = tuple[int, int, int, int]
"""tx packets, tx bytes, rx packets, rx bytes."""

NOTHING: Counts = (0, 0, 0, 0)


@dataclass(slots=True)
class MeterTwin:
    """What a meter with one table of `max_flows` connections must give at its next extraction."""

    max_flows: int = 1 << 26
    flows: dict[Connection, Counts] = field(default_factory=dict)
    unattributed: dict[Reason, Counts] = field(default_factory=dict)

    def packet(self, data: bytes, *, rx: bool = False, gso_size: int = 0) -> None:
        """Count a packet."""
        self.add(count_packet(data, rx=rx, gso_size=gso_size), rx=rx)

    def add(self, count: Count, *, rx: bool) -> None:
        """Count what is decoded already."""
        key = count.key
        if isinstance(key, Reason):
            self.unattributed[key] = _plus(self.unattributed.get(key), count, rx=rx)
        else:
            self.flows[key] = _plus(self.flows.get(key), count, rx=rx)

    def check(self, rows: np.ndarray, got: Unattributed) -> Counts:
        """Assert that an extraction is what was counted, and begin a new epoch.

        A full table keeps as many connections as it has room for. Which ones, within a batch, is
        its own business, but a connection that it keeps has all of its packets.

        Returns:
            What is unattributed, for all reasons together.
        """
        found = connections(rows)
        refused = {key: counts for key, counts in self.flows.items() if key not in found}
        assert found == {key: counts for key, counts in self.flows.items() if key in found}
        assert len(found) == min(len(self.flows), self.max_flows)
        expected = {"table_full": totals(refused)}
        for name, reason in (("malformed", Reason.MALFORMED), ("not_ip", Reason.NOT_IP)):
            expected[name] = self.unattributed.get(reason, NOTHING)
        assert got.by_reason == expected
        total = totals(expected)
        assert (got.tx_packets, got.tx_bytes, got.rx_packets, got.rx_bytes) == total
        assert (got.packets, got.bytes) == (total[0] + total[2], total[1] + total[3])
        self.clear()
        return total

    def clear(self) -> None:
        """Begin a new epoch."""
        self.flows.clear()
        self.unattributed.clear()


def totals(counted: Mapping[Any, Counts]) -> Counts:
    """Add up the counts of all keys."""
    a, b, c, d = (sum(counts[i] for counts in counted.values()) for i in range(4))
    return a, b, c, d


def connections(rows: np.ndarray) -> dict[Connection, Counts]:
    """Read FLOW_DTYPE rows, each connection once, every byte as it must be."""
    assert rows.dtype == netlog.FLOW_DTYPE
    assert rows.ndim == 1
    found: dict[Connection, Counts] = {}
    for row in rows:
        key = _connection(row)
        assert key not in found, f"{key} is in two rows"
        found[key] = (
            int(row["tx_packets"]),
            int(row["tx_bytes"]),
            int(row["rx_packets"]),
            int(row["rx_bytes"]),
        )
    return found


def _connection(row: np.void) -> Connection:
    flags = int(row["flags"])
    version = int(row["version"])
    assert version in (4, 6)
    assert flags in (0, NO_SRC)
    assert int(row["reserved"]) == 0
    src = _address(row["src"].tobytes(), 0 if flags & NO_SRC else version)
    dst = _address(row["dst"].tobytes(), version)
    ports = int(row["src_port"]), int(row["dst_port"])
    assert src is not None or ports[0] == 0
    return Connection(version, int(row["proto"]), src, dst, *ports)


def _address(raw: bytes, version: int) -> Address | None:
    if version == 0:
        assert raw == bytes(16)
        return None
    if version == 4:
        assert raw[:12] == MAPPED
        return IPv4Address(raw[12:])
    return IPv6Address(raw)


def _plus(counts: Counts | None, count: Count, *, rx: bool) -> Counts:
    a, b, c, d = counts or (0, 0, 0, 0)
    if rx:
        return a, b, c + count.packets, d + count.byte_count
    return a + count.packets, b + count.byte_count, c, d
