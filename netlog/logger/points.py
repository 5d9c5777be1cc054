"""The observation points of a logger: one reading over both, by one store if they share a meter."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

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
"""With several meters the poller looks at each in turn: so late an early swap can come."""


@dataclass(slots=True)
class Reading:
    """What both observation points counted in one period.

    Rows include the unattributed one, and are there until they are cleared.

    Attributes:
        id: names the counts for ever, if they come from one meter.
        period: when it was, if a poller that is dead had said so.
        date: says when it was; to be called before a message leaves.
        clear: empties what was read; to be called once the messages are safe.
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

    Thread safety: `wake` from any thread, the rest from one.
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
        # Names the counts where not all of them come from one meter; good for this process only.
        self._own_id = os.urandom(16)
        self._extractions = 0

    @property
    def inherits(self) -> bool:
        """Whether the counts that are there now are to be emitted: those of a dead predecessor."""
        return self._only_meter is not None and self._only_meter.path is not None

    @property
    def inherited_periods(self) -> int:
        """How many periods a predecessor's counts are: what it had retired, and what came then."""
        if self._only_meter is None or not self.inherits:
            return 0
        return 2 if self._only_meter.retired else 1

    def clock(self) -> PeriodClock:
        """The clock of the periods, which goes on from a predecessor's last one."""
        if self._only_meter is None or not self.inherits:
            return PeriodClock()
        return PeriodClock(last=self._only_meter.period[0])

    def enable(self, *, enabled: bool) -> None:
        """Begin or end to count at both points, on every queue that shares a meter with them.

        A device that is closed counts nothing anyway.
        """
        queues = [device for meter in self._meters for device in tuple(meter.devices)]
        for device in dict.fromkeys([*self._devices, *queues]):
            try:
                device.set_statistics_enabled(enabled)
            except StateError:
                if enabled:
                    raise

    def wait(self, timeout_s: float, stopping: threading.Event) -> None:
        """Sleep until a table is nearly full, `wake` is called, or `timeout_s` have passed."""
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
        """Throw away what was counted before now."""
        self.extract().clear()

    def extract(self) -> Reading:
        """Swap and drain every meter, and extract every other device.

        Returns:
            The rows; call its `clear` once they are safe.
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
        """An empty one, with what names it."""
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
        except Exception:  # noqa: BLE001 - a user's own code; the other device's counts still leave
            _log.exception("a device's statistics could not be extracted")
            reading.device_errors += 1
            return NO_FLOWS
        if rows.dtype != FLOW_DTYPE:
            _log.error("a device's statistics are no array of FLOW_DTYPE")
            reading.device_errors += 1
            return NO_FLOWS
        return rows
