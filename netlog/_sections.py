"""Which entries the messages of a period show, and in which order."""

import numpy as np

from netlog._cut import Section
from netlog._native import check, ffi, lib
from netlog.classify import ClassifiedFlows, Traffic
from netlog.flows import flow_array

__all__ = ["EXIT_MODES", "make_sections"]

EXIT_MODES = ("aggregate", "log", "drop")
"""Exit traffic as one entry that has only counts; in full; not at all."""


def make_sections(
    inside: ClassifiedFlows, outside: ClassifiedFlows, exit_traffic: str
) -> list[Section]:
    """Make the arrays of a period's messages.

    Args:
        inside: the rows of the tun. Their classes are changed.
        outside: the rows of the sock.
        exit_traffic: one of EXIT_MODES.

    Returns:
        Sorted sections, in the order of their members; none if nothing was counted.

    Raises:
        MemoryError: there is none for sorting.
    """
    shown = [inside.tallies[Traffic.VIRTUAL], inside.tallies[Traffic.SUBNET]]
    shown.append(outside.tallies[Traffic.PHYSICAL])
    exits = inside.tallies[Traffic.EXIT]
    if exit_traffic != "drop":
        shown.append(exits)
    if not any(any(tally.counts) for tally in shown):
        return []
    classes = [Traffic.VIRTUAL, Traffic.SUBNET]
    if exit_traffic == "log":
        classes.append(Traffic.EXIT)
    else:
        inside.classes[inside.classes == Traffic.EXIT] = lib.NETLOG_LEFT_OUT
    sections = _sort(inside, classes)
    if exit_traffic == "aggregate" and any(exits.counts):
        total = flow_array([(0, "", "", *exits.counts)])
        sections.append(Section(Traffic.EXIT, total, np.zeros(1, np.uint32)))
    return sections + _sort(outside, [Traffic.PHYSICAL])


def _sort(flows: ClassifiedFlows, shown: list[Traffic]) -> list[Section]:
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
        sections.append(Section(traffic, flows.flows, order[start:stop]))
        start = stop
    return sections
