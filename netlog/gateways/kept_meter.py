"""A meter that may lie in a file: what a predecessor left there is this one's."""

import contextlib
import logging
from collections.abc import Callable

from netlog.devices.device import MeterDevice
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
    """A meter that goes with the process, or that of a file, with what is in it.

    Args:
        stack: closes the meter; a file goes too if all that it held was stored.
        path: of the file; None: there is none.
        max_flows: connections per lane.
        max_lanes: threads that count.
        start: starts a logger on a device, by which the counts of a meter of another size are
            emitted before it is replaced.

    Raises:
        MeterFileError: the file can not be used, or somebody polls it.
    """
    if path is None:
        return stack.enter_context(Meter(max_flows, max_lanes=max_lanes))
    try:
        meter = Meter.attach(path, poll=True)
    except FileNotFoundError:
        meter = Meter.create(path, max_flows, max_lanes=max_lanes)
    else:
        _log.info("%s: going on where the last process stopped", path)
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
    """Emit what is in a meter of another size, and make a new one.

    Returns:
        The new one; or the old one, if no sink has room for what is in it.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(old.close)
        emptied = Logger()
        start(emptied, MeterDevice(old))
        emptied.shutdown()
        if old.retired:
            _log.warning(
                "%s: stays of %d connections and %d threads for now",
                path,
                old.max_flows,
                old.max_lanes,
            )
            stack.pop_all()
            return old
        start_ns = old.period[0].end_ns + 1
        remove_meter_file(path)
    return Meter.create(path, max_flows, max_lanes=max_lanes, start_ns=start_ns)


def _remove_if_empty(meter: Meter) -> None:
    """The file of a meter goes with a gateway that has stored all of it."""
    if meter.path is not None and not meter.retired:
        remove_meter_file(meter.path)
