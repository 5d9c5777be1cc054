"""The observation points of a logger. If both share a meter, one store swaps both of them."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from netlog.devices.device import Device
from netlog.errors import StateError
from netlog.meter.meter import Meter
from netlog.meter.snapshot import REASONS, Retired, Unattributed
from netlog.model.flows import FLOW_DTYPE, NO_FLOWS, FlowArray
from netlog.model.periods import Period, PeriodClock, PeriodId
from netlog.model.rows import Rows

__all__ = ["ObservationPoints", "Reading"]

_log = logging.getLogger("netlog")

QUIESCE_TIMEOUT_S = 0.1
"""How long a poll waits for writers inside a batch; a relay's batch takes well below 1 ms."""

SEVERAL_METERS_SLICE_S = 0.05
"""With several meters, the poller waits for each in turn. An early swap can come this much late."""


@dataclass(slots=True)
class Reading:
    """What both observation points counted in one period.

    The rows include the unattributed one, and stay valid until they are cleared.

    Attributes:
        id: identifies the counts, even after a crash if they all come from one meter.
        period: the period of the counts, if an earlier poller had already dated them.
        date: stores the period beside the counts; call it before any message leaves.
        clear: clears the counts; call it as soon as the messages are stored.
    """

    tun: Rows
    sock: Rows
    id: PeriodId
    period: Period | None = None
    tun_unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    sock_unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    late_lanes: int = 0
    device_errors: int = 0
    date: Callable[[Period], None] = lambda _: None
    clear: Callable[[], None] = lambda: None


def _packets(unattributed: Unattributed) -> dict[str, int]:
    return {name: tx + rx for name, (tx, _, rx, _) in unattributed.by_reason.items()}


class ObservationPoints:
    """The devices of one logger.

    Thread safety: `wake` from any thread; everything else from one thread.
    """

    def __init__(self, tun: Device | None, sock: Device | None) -> None:
        self._tun = tun
        self._sock = sock
        self._devices = [device for device in (tun, sock) if device is not None]
        meters = (getattr(device, "meter", None) for device in self._devices)
        self._meters = list(dict.fromkeys(m for m in meters if isinstance(m, Meter)))
        alone = len(self._meters) == 1 and all(
            getattr(device, "meter", None) is self._meters[0] for device in self._devices
        )
        self._only_meter = self._meters[0] if alone else None
        # Identifies the counts if they do not all come from one meter; valid in this process only.
        self._own_id = os.urandom(16)
        self._extractions = 0

    @property
    def inherits(self) -> bool:
        """Whether counts of an earlier process may exist, which must be emitted and not cleared."""
        return self._only_meter is not None and self._only_meter.path is not None

    @property
    def inherited_periods(self) -> int:
        """The number of inherited periods: a bank that was retired, and the counts after that."""
        if self._only_meter is None or not self.inherits:
            return 0
        return 2 if self._only_meter.retired else 1

    def clock(self) -> PeriodClock:
        """The clock of the periods. It continues after the last period of an earlier process."""
        if self._only_meter is None or not self.inherits:
            return PeriodClock()
        last, _ = self._only_meter.period
        if self._only_meter.period_damaged:
            _log.warning(
                "meter %s: the period of its last counts is damaged: it is dated anew",
                self._only_meter.path,
            )
        return PeriodClock(last=last if last.ended_ns else None)

    def enable(self, *, enabled: bool) -> None:
        """Start or stop counting at both points, on every queue that shares a meter with them.

        Devices that are already closed may be disabled, because they count nothing.
        """
        queues = [device for meter in self._meters for device in tuple(meter.devices)]
        for device in dict.fromkeys([*self._devices, *queues]):
            try:
                device.set_statistics_enabled(enabled)
            except StateError:
                if enabled:
                    raise

    def wait(self, timeout_s: float, stopping: threading.Event) -> None:
        """Sleep until a table is nearly full, `wake` is called, or `timeout_s` seconds are over."""
        if not self._meters:
            stopping.wait(timeout_s)
        elif len(self._meters) == 1:
            self._meters[0].wait(timeout_s)
        else:
            while timeout_s > 0 and not stopping.is_set():
                slice_s = min(timeout_s, SEVERAL_METERS_SLICE_S) / len(self._meters)
                if any(meter.wait(slice_s) for meter in self._meters):
                    return
                timeout_s -= slice_s * len(self._meters)

    def wake(self) -> None:
        """End the current wait."""
        for meter in self._meters:
            meter.wake()

    def discard(self) -> None:
        """Discard everything that was counted until now."""
        self.extract().clear()

    def read_again(self) -> None:
        """Let the next `extract` give the counts of the last one again.

        Raises:
            StateError: a meter is closed.
        """
        for meter in self._meters:
            meter.read_again()

    def extract(self) -> Reading:
        """Swap and drain every meter, and extract every other device.

        Returns:
            The rows. Call `clear` of the reading as soon as their messages are stored.
        """
        snapshots = {meter: meter.retire(QUIESCE_TIMEOUT_S) for meter in self._meters}
        reading = self._reading(snapshots)
        reading.late_lanes = sum(snapshot.late_lanes for snapshot in snapshots.values())
        reading.clear = self._clear
        if (snapshot := self._snapshot_of(self._tun, snapshots)) is not None:
            reading.tun = snapshot.tun
            reading.tun_unattributed = _packets(snapshot.tun_unattributed)
        else:
            reading.tun = Rows.of(self._extract_own(self._tun, reading))
        if (snapshot := self._snapshot_of(self._sock, snapshots)) is not None:
            reading.sock = snapshot.sock
            reading.sock_unattributed = _packets(snapshot.sock_unattributed)
        else:
            reading.sock = Rows.of(self._extract_own(self._sock, reading))
        return reading

    def _reading(self, snapshots: dict[Meter, Retired]) -> Reading:
        """An empty reading with its identity."""
        none = Rows.of(NO_FLOWS)
        self._extractions += 1
        if (meter := self._only_meter) is None:
            return Reading(none, none, PeriodId(self._own_id, self._extractions))
        reading = Reading(none, none, PeriodId(meter.id, snapshots[meter].epoch))
        last, current = meter.period
        if self.inherits:
            reading.period = last if current else None
            reading.date = meter.date
        return reading

    def _clear(self) -> None:
        for meter in self._meters:
            meter.clear()

    @staticmethod
    def _snapshot_of(device: Device | None, snapshots: dict[Meter, Retired]) -> Retired | None:
        meter = getattr(device, "meter", None)
        return snapshots.get(meter) if isinstance(meter, Meter) else None

    @staticmethod
    def _extract_own(device: Device | None, reading: Reading) -> FlowArray:
        if device is None:
            return NO_FLOWS
        try:
            rows = device.extract_statistics()
            is_flows = isinstance(rows, np.ndarray) and rows.dtype == FLOW_DTYPE
        except Exception:  # noqa: BLE001 - a user's own code must not stop the other device's counts
            _log.exception("cannot extract a device's statistics")
            reading.device_errors += 1
            return NO_FLOWS
        if not is_flows or rows.ndim != 1:
            _log.error("a device's statistics are not an array of FLOW_DTYPE")
            reading.device_errors += 1
            return NO_FLOWS
        return rows
