"""Which entries the messages of a period show, and in which order."""

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
"""Exit traffic as one entry that has only counts; as one entry for each overlay address; in full;
not at all."""

_MOST = 2**64 - 1
_NONE = np.array([[0, 0]], np.uint32)


@dataclass(slots=True)
class LeftOut:
    """What was counted at the tun and no message shows; a caller may sum several periods in it.

    Attributes:
        service_packets, service_bytes: to the overlay's own services, both ways.
        dropped_packets, dropped_bytes: exit traffic that is dropped, both ways.
    """

    service_packets: int = 0
    service_bytes: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ClassifiedTun:
    """The rows of the tun with all that decides on what is shown of them.

    `prefix_map` is the map by which they were classified; `by_nodes`: it knows the nodes.
    """

    classified: ClassifiedFlows
    prefix_map: PrefixMap
    by_nodes: bool


class ExitTraffic:
    """The exit traffic of a period, which is shown with the last of its rows.

    Args:
        mode: one of EXIT_MODES.

    Attributes:
        counted: whether there is any that is shown.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.counted = False
        self._sums = [0, 0, 0, 0]
        self._anonymized: list[FlowArray] = []

    def take(self, inside: ClassifiedTun, left_out: LeftOut) -> None:
        """Note what some rows have of it; unless it is shown in full, it leaves their classes."""
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
        """What is shown of it that is no row: one entry, or one for each overlay address."""
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
        inside: rows of the tun. Their classes are changed.
        outside: rows of the sock.
        exits: of the period.
        left_out: what is not shown is added to it.
        last: whether these are the last rows of the period.

    Returns:
        Sorted sections, in the order of their members; none if nothing was counted.

    Raises:
        MemoryError: there is none for sorting.
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
        peers[:, 1] = 0  # where a peer is, is no address of a node
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
    """The nodes at both ends of each row."""
    if not inside.by_nodes:
        return None
    return find_ends(inside.prefix_map, flows) >> np.uint32(NODE_NUMBER_SHIFT)


def _anonymized(inside: ClassifiedTun, exits: FlowArray) -> FlowArray:
    """One row for each overlay address; of rows that are such already, of the same ones one."""
    keeps = NODE if inside.by_nodes else OVERLAY_ROUTE
    ends = find_ends(inside.prefix_map, exits)
    return anonymize(exits, ends & keeps == keeps)


def _sort(
    flows: ClassifiedFlows, shown: list[Traffic], numbers: npt.NDArray[np.uint32] | None
) -> list[Section]:
    """Sort all rows at once and cut the order into sections."""
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
