"""A meter that may be kept in a file: a gateway takes over what an earlier process left there."""

import contextlib
import logging
from collections.abc import Callable

from netlog.devices.device import MeterDevice
from netlog.display.units import counted
from netlog.logger.logger import Logger
from netlog.meter.file import remove_meter_file
from netlog.meter.meter import Meter

__all__ = ["open_kept_meter"]

_log = logging.getLogger("netlog")


def open_kept_meter(
    stack: contextlib.ExitStack,
    path: str | None,
    max_flows: int,
    max_lanes: int,
    start: Callable[[Logger, MeterDevice], None],
) -> Meter:
    """Open a meter in memory, or the meter in a file with the counts that are in it.

    Args:
        stack: closes the meter, and removes its file if all of its counts are stored.
        path: the file; None: the meter is in memory and ends with the process.
        max_flows: connections per lane.
        max_lanes: threads that count.
        start: starts a logger on a device. If the file's meter has another size, this logger emits
            its counts before a new meter replaces it.

    Raises:
        MeterFileError: the file cannot be used, or another process polls it.
    """
    if path is None:
        return stack.enter_context(Meter(max_flows, max_lanes=max_lanes))
    try:
        meter = Meter.attach(path, poll=True)
    except FileNotFoundError:
        meter = Meter.create(path, max_flows, max_lanes=max_lanes)
    else:
        _log.info("%s: continuing where the last process stopped", path)
        if (meter.max_flows, meter.max_lanes) != (max_flows, max_lanes):
            meter = _replaced(meter, path, max_flows, max_lanes, start)
    stack.enter_context(meter)
    stack.callback(_remove_if_empty, meter)
    return meter


def _replaced(
    old: Meter,
    path: str,
    max_flows: int,
    max_lanes: int,
    start: Callable[[Logger, MeterDevice], None],
) -> Meter:
    """Emit the counts of a meter that has another size, and create a new meter in its place.

    Returns:
        The new meter; the old one if no sink could store its counts.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(old.close)
        emptied = Logger()
        start(emptied, MeterDevice(old))
        emptied.shutdown()
        if old.retired:
            _log.warning(
                "%s: keeps its old size (%s, %s) until its counts are stored",
                path,
                counted(old.max_flows, "connection"),
                counted(old.max_lanes, "thread"),
            )
            stack.pop_all()
            return old
        start_ns = old.period[0].end_ns + 1
        remove_meter_file(path)
    return Meter.create(path, max_flows, max_lanes=max_lanes, start_ns=start_ns)


def _remove_if_empty(meter: Meter) -> None:
    """Remove the file of a meter, if a sink has stored all of its counts."""
    if meter.path is not None and not meter.retired:
        remove_meter_file(meter.path)
