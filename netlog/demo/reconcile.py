"""The demo's verdict: the sum of all messages beside what the kernel counted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netlog.model.classes import CLASSES

__all__ = ["COUNTS", "Comparison", "Counts", "Verdict", "add_message", "reconcile"]

TUNNEL_CLASSES = ("virtual", "subnet", "exit")

COUNTS = {
    "tx_packets": "txPkts",
    "tx_bytes": "txBytes",
    "rx_packets": "rxPkts",
    "rx_bytes": "rxBytes",
}
"""The four counts, and their names in a message."""

Counts = dict[str, int]

FRAME_BYTES = 14 + 20 + 8
"""What the underlay adds to a datagram: Ethernet, IPv4 (no options) and UDP headers."""


@dataclass(slots=True)
class MessageSums:
    """The sum of one node's messages, by class."""

    messages: int = 0
    by_class: dict[str, Counts] = field(
        default_factory=lambda: {name: dict.fromkeys(COUNTS, 0) for name in CLASSES}
    )

    def tunnel(self) -> Counts:
        """The sum over the classes of traffic inside the tunnel, unattributed packets included."""
        return {
            count: sum(self.by_class[name][count] for name in TUNNEL_CLASSES) for count in COUNTS
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of a node, from two sources that have nothing in common."""

    node: str
    point: str
    count: str
    metered: int
    kernel: int

    @property
    def agrees(self) -> bool:
        """Whether both are exactly the same."""
        return self.metered == self.kernel


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every comparison of the demo.

    Attributes:
        lines: messages beside the kernel, by node, observation point and count.
        totals: the sum of each node's messages.
        tun, kernel: by node, what was metered at the TUN, and what the kernel counted there.
        sock, underlay: by node, the datagrams metered, and those the kernel counted on the link.
    """

    lines: list[Comparison]
    totals: Mapping[str, MessageSums]
    tun: dict[str, Counts]
    kernel: dict[str, Counts]
    sock: dict[str, Counts]
    underlay: dict[str, Counts]

    @property
    def reconciled(self) -> bool:
        """Every number agrees, there was traffic of every class, and no datagram got lost."""
        return (
            all(line.agrees for line in self.lines)
            and _mirrored(self.sock)
            and all(
                any(totals.by_class[name]["tx_packets"] for totals in self.totals.values())
                for name in CLASSES
            )
        )

    def as_json(self) -> dict[str, Any]:
        """The verdict for a program to read."""
        return {
            "reconciled": self.reconciled,
            "tun": self.tun,
            "kernel": self.kernel,
            "sock": self.sock,
            "underlay": self.underlay,
            "classes": {node: totals.by_class for node, totals in self.totals.items()},
            "messages": {node: totals.messages for node, totals in self.totals.items()},
        }


def add_message(totals: dict[str, MessageSums], message: Mapping[str, Any]) -> None:
    """Add a message to the totals of its node.

    Args:
        totals: by node; the message's is made if it is not there.
        message: as read from its JSON text.
    """
    node = totals.setdefault(message["nodeId"], MessageSums())
    node.messages += 1
    for name in CLASSES:
        for entry in message.get(f"{name}Traffic", ()):
            for count, member in COUNTS.items():
                node.by_class[name][count] += entry.get(member, 0)


def payload_counts(link: Counts) -> Counts:
    """The UDP payloads that a link carried, from its own counters.

    Args:
        link: the kernel's counters of a link that carries the gateways' datagrams only, none of
            them fragmented.
    """
    return {
        "tx_packets": link["tx_packets"],
        "tx_bytes": link["tx_bytes"] - FRAME_BYTES * link["tx_packets"],
        "rx_packets": link["rx_packets"],
        "rx_bytes": link["rx_bytes"] - FRAME_BYTES * link["rx_packets"],
    }


def reconcile(
    totals: Mapping[str, MessageSums], tuns: Mapping[str, Counts], links: Mapping[str, Counts]
) -> Verdict:
    """Compare the messages of all nodes with the kernel's counters.

    Args:
        totals: the sum of each node's messages.
        tuns: by node, the kernel's counters of its TUN.
        links: by node, the kernel's counters of its side of the underlay.

    Returns:
        The verdict.
    """
    nodes = sorted(tuns)
    metered = {node: totals.get(node, MessageSums()) for node in nodes}
    tun = {node: metered[node].tunnel() for node in nodes}
    sock = {node: metered[node].by_class["physical"] for node in nodes}
    kernel = {node: dict(tuns[node]) for node in nodes}
    underlay = {node: payload_counts(links[node]) for node in nodes}
    lines = [
        Comparison(node, point, count, ours[node][count], theirs[node][count])
        for point, ours, theirs in (("tun", tun, kernel), ("sock", sock, underlay))
        for node in nodes
        for count in COUNTS
    ]
    return Verdict(lines, metered, tun, kernel, sock, underlay)


def _mirrored(sock: Mapping[str, Counts]) -> bool:
    """Whether what all sockets sent is what all of them received."""
    sums = {count: _sum(sock.values(), count) for count in COUNTS}
    return sums["tx_packets"] == sums["rx_packets"] and sums["tx_bytes"] == sums["rx_bytes"]


def _sum(counts: Iterable[Counts], count: str) -> int:
    return sum(each[count] for each in counts)
