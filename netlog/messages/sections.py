"""Selects and sorts the entries that the messages of a period show."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netlog._native import check, ffi, lib
from netlog.messages.anonymize import anonymize
from netlog.messages.classify import (
    NODE,
    NODE_NUMBER_SHIFT,
    OVERLAY_ROUTE,
    TO_SERVICE,
    ClassifiedFlows,
    PrefixMap,
    Traffic,
    find_ends,
)
from netlog.messages.split import Section
from netlog.model.flows import FlowArray, flow_array

__all__ = ["EXIT_MODES", "ClassifiedTun", "ExitTraffic", "LeftOut", "make_sections"]

EXIT_MODES = ("aggregate", "anonymize", "log", "drop")
"""How exit traffic is shown: as one entry with only counts, as one entry for each overlay address,
in full, or not at all."""

_MOST = 2**64 - 1
_NONE = np.array([[0, 0]], np.uint32)


@dataclass(slots=True)
class LeftOut:
    """Traffic that was counted at the tun and that no message shows; of one or several periods.

    Attributes:
        service_packets, service_bytes: to the overlay's own services, in both directions.
        dropped_packets, dropped_bytes: exit traffic that is dropped, in both directions.
    """

    service_packets: int = 0
    service_bytes: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ClassifiedTun:
    """The rows of the tun, and how they were classified.

    Attributes:
        classified: the rows with their classes.
        prefix_map: the map that classified them.
        by_nodes: whether the map knows the nodes.
    """

    classified: ClassifiedFlows
    prefix_map: PrefixMap
    by_nodes: bool


class ExitTraffic:
    """Collects the exit traffic of a period, which is shown together with its last rows.

    Args:
        mode: one of EXIT_MODES.

    Attributes:
        counted: whether there is exit traffic to show.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.counted = False
        self._sums = [0, 0, 0, 0]
        self._anonymized: list[FlowArray] = []

    def take(self, inside: ClassifiedTun, left_out: LeftOut) -> None:
        """Collect the exit traffic of some rows; unless `mode` is `log`, mark them as left out."""
        exits, classes = inside.classified.tallies[Traffic.EXIT], inside.classified.classes
        if self.mode == "drop":
            left_out.dropped_packets += exits.tx_packets + exits.rx_packets
            left_out.dropped_bytes += exits.tx_bytes + exits.rx_bytes
        else:
            self.counted |= any(exits.counts)
        if self.mode == "anonymize" and exits.rows:
            rows = inside.classified.flows[classes == Traffic.EXIT]
            self._anonymized.append(_anonymized(inside, rows))
        elif self.mode == "aggregate":
            self._sums = [a + b for a, b in zip(self._sums, exits.counts, strict=True)]
        if self.mode != "log":
            classes[classes == Traffic.EXIT] = lib.NETLOG_LEFT_OUT

    def sections(self, inside: ClassifiedTun) -> list[Section]:
        """The sections for the collected traffic: one entry, or one for each overlay address."""
        if self.mode == "aggregate" and self.counted:
            tx_packets, tx_bytes, rx_packets, rx_bytes = (min(each, _MOST) for each in self._sums)
            total = flow_array([(0, "", "", tx_packets, tx_bytes, rx_packets, rx_bytes)])
            return [Section(Traffic.EXIT, total, np.zeros(1, np.uint32), _NONE)]
        if not self._anonymized:
            return []
        rows = self._anonymized[0]
        if len(self._anonymized) > 1:
            rows = _anonymized(inside, np.concatenate(self._anonymized))
        order = np.arange(len(rows), dtype=np.uint32)
        return [Section(Traffic.EXIT, rows, order, _numbers(inside, rows))]


def make_sections(
    inside: ClassifiedTun,
    outside: ClassifiedFlows,
    exits: ExitTraffic,
    left_out: LeftOut,
    *,
    last: bool = True,
) -> list[Section]:
    """Make the arrays of messages.

    Args:
        inside: the rows of the tun. Their classes are changed.
        outside: the rows of the sock.
        exits: the exit traffic of the period.
        left_out: traffic that is not shown is added to it.
        last: whether these are the last rows of the period.

    Returns:
        Sorted sections, in the order of a message's members; empty if nothing was counted.

    Raises:
        MemoryError: there is no memory for sorting.
    """
    flows, tallies = inside.classified.flows, inside.classified.tallies
    _leave_out_services(flows, inside.classified.classes, left_out)
    numbers = _numbers(inside, flows)
    exits.take(inside, left_out)
    shown = [tallies[Traffic.VIRTUAL], tallies[Traffic.SUBNET], outside.tallies[Traffic.PHYSICAL]]
    order = [Traffic.VIRTUAL, Traffic.SUBNET]
    if exits.mode == "log":
        shown.append(tallies[Traffic.EXIT])
        order.append(Traffic.EXIT)
    if not any(any(tally.counts) for tally in shown) and not (last and exits.counted):
        return []
    sections = _sort(inside.classified, order, numbers)
    if last:
        sections += exits.sections(inside)
    peers = _numbers(inside, outside.flows)
    if peers is not None:
        peers[:, 1] = 0  # the endpoint of a peer is not an address of a node
    return sections + _sort(outside, [Traffic.PHYSICAL], peers)


def _leave_out_services(
    flows: FlowArray, classes: npt.NDArray[np.uint8], left_out: LeftOut
) -> None:
    to_services = classes == TO_SERVICE
    if not to_services.any():
        return
    rows = flows[to_services]
    classes[to_services] = lib.NETLOG_LEFT_OUT
    for direction in ("tx", "rx"):
        left_out.service_packets += int(rows[f"{direction}_packets"].sum(dtype=np.uint64))
        left_out.service_bytes += int(rows[f"{direction}_bytes"].sum(dtype=np.uint64))


def _numbers(inside: ClassifiedTun, flows: FlowArray) -> npt.NDArray[np.uint32] | None:
    """The numbers of the nodes at both ends of each row; None if nodes are not known."""
    if not inside.by_nodes:
        return None
    return find_ends(inside.prefix_map, flows) >> np.uint32(NODE_NUMBER_SHIFT)


def _anonymized(inside: ClassifiedTun, exits: FlowArray) -> FlowArray:
    """One row for each overlay address. Rows that were anonymized before may be among `exits`."""
    keeps = NODE if inside.by_nodes else OVERLAY_ROUTE
    ends = find_ends(inside.prefix_map, exits)
    return anonymize(exits, ends & keeps == keeps)


def _sort(
    flows: ClassifiedFlows, shown: list[Traffic], numbers: npt.NDArray[np.uint32] | None
) -> list[Section]:
    """Sort all rows at once, and divide the order into sections."""
    n = len(flows.flows)
    order = np.empty(n, np.uint32)
    result = lib.netlog_sort_flows(
        ffi.from_buffer("struct netlog_flow[]", flows.flows),
        ffi.from_buffer("uint8_t[]", flows.classes),
        n,
        ffi.from_buffer("uint32_t[]", order),
    )
    check(result, "sorting a message's entries")
    sections = []
    start = 0
    for traffic in shown:
        stop = start + flows.tallies[traffic].rows
        sections.append(Section(traffic, flows.flows, order[start:stop], numbers))
        start = stop
    return sections
