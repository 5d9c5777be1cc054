"""What the two devices have in common: a descriptor, its meter, and calls that count."""

import os
import select
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netlog._closing import Closing
from netlog._native import check, ffi, lib
from netlog.devices.batch import PacketBatch
from netlog.devices.gate import Gate
from netlog.errors import StateError
from netlog.meter.meter import Meter
from netlog.model.flows import FlowArray

__all__ = ["CountedDevice", "Refusals"]

# A descriptor can be ready all the time without giving anything (a socket that was shut down).
# After this many fruitless wakeups in a row it is only read every PAUSE_S. As csrc/relay/relay.c.
FRUITLESS_WAKEUPS = 16
PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Refusals:
    """Packets that the kernel refused from a device's writers, since the device was opened.

    Attributes:
        packets, bytes: refused for a reason of their own.
        queue_full_packets, queue_full_bytes: refused because the send queue had no room.
        errno: of the last refusal, or 0.
    """

    packets: int = 0
    bytes: int = 0
    queue_full_packets: int = 0
    queue_full_bytes: int = 0
    errno: int = 0


class CountedDevice(Closing):
    """A descriptor whose packets are counted, with one lane for reading and one for writing.

    Args:
        fd: the descriptor; it is closed with the device.
        what: the device, as a user knows it.
        meter: whose tables count; None: the device opens a meter of its own.
        handle: `struct netlog_tun *` or `struct netlog_sock *`.

    Thread safety: every method may be called from any thread. A waiting call does not delay other
        calls, and reading does not delay writing.
    """

    _set_statistics: Callable[[Any, bool], None]

    def __init__(self, fd: int, what: str, meter: Meter | None, handle: Any) -> None:  # noqa: ANN401
        self._fd = fd
        self._what = what
        self._own_meter = Meter() if meter is None else None
        self._meter = self._own_meter or meter
        self._handle = handle
        self._lanes: list[Any] = [None, None]
        # Each lock admits one call at a time to its lane, for the time of a batch, not of a wait.
        self._read_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._refusals = Refusals()  # guarded by _write_lock
        self._closing: list[Callable[[], None]] = []
        self.gate = Gate(what, self._free)
        self.set_statistics_enabled(enabled=True)
        self.meter.devices.add(self)

    # -- life -------------------------------------------------------------------------------------

    @property
    def meter(self) -> Meter:
        """The meter whose tables count this device's packets."""
        assert self._meter is not None  # noqa: S101 - for the type checker; one of the two is set
        return self._meter

    @property
    def fd(self) -> int:
        """The device's descriptor; -1 once it is closed. The device keeps ownership."""
        return self._fd

    @property
    def handle(self) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
        """The device's struct in the core. Callers must be inside `gate` while they use it."""
        return self._handle

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.gate.closed

    def close(self) -> None:
        """Close the descriptor, and the meter if it is the device's own. Closing twice is fine.

        Waiting calls end with StateError. `close` waits for running batches, and stops a relay that
        uses the device. With an own meter, counts that were not extracted are lost.
        """
        self.gate.shut()
        for stop in tuple(self._closing):
            stop()
        self.gate.close()

    def on_close(self, stop: Callable[[], None], *, forget: bool = False) -> None:
        """Call `stop` when the device is about to be closed; with `forget`, no longer."""
        if forget:
            self._closing.remove(stop)
        else:
            self._closing.append(stop)

    def __del__(self) -> None:
        if hasattr(self, "gate") and not self.closed:
            warnings.warn(f"{self._what} was not closed", ResourceWarning, stacklevel=2)
            self.close()

    def _free(self) -> None:
        self.meter.devices.discard(self)
        for lane in self._lanes:
            if lane is not None:
                self.meter.release_lane(lane)
        os.close(self._fd)
        self._fd = self._handle.fd = -1
        if self._own_meter is not None:
            self._own_meter.close()

    # -- statistics -------------------------------------------------------------------------------

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - Device's signature
        """Start or stop counting. While it is off, a batch costs only one load and one branch more.

        A running batch finishes as it began. A new device counts.

        Raises:
            StateError: the device is closed.
        """
        with self.gate:
            self._set_statistics(self._handle, enabled)

    def after_fork(self, *, shared: bool) -> None:
        """Count nothing in a fork; if the meter is shared, count on other lanes than the parent."""
        if not shared:
            self._set_statistics(self._handle, False)  # noqa: FBT003 - a call of the core
            return
        for side, lane in enumerate(self._lanes):
            if lane is not None:
                self._lanes[side] = None
                self.meter.forget_lane()

    def extract_statistics(self) -> FlowArray:
        """Return what was counted since the last extraction, and clear it.

        A meter is swapped as a whole, so this is for a device that is the only one of its meter.
        Extract devices that share a meter together, with `meter.snapshot()` and `meter.clear()`.

        Returns:
            FLOW_DTYPE, shape (n,): each connection once, in no particular order. If anything is
            unattributed, a row without addresses follows.

        Raises:
            StateError: the device is closed, or another device counts into its meter.
        """
        with self.gate:
            others = [device for device in self.meter.devices if device is not self]
            if others:
                raise StateError(f"{self._what} shares its meter: use meter.snapshot()")
            rows = self._rows()
            self.meter.clear()
            return rows

    def _rows(self) -> FlowArray:
        raise NotImplementedError

    # -- packets ----------------------------------------------------------------------------------

    @property
    def refusals(self) -> Refusals:
        """What the kernel refused from this object's write calls."""
        return self._refusals

    def _read_batch(
        self,
        read: Callable[[Any, Any, Any], int],
        batch: PacketBatch,
        timeout_s: float | None,
    ) -> int:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        fruitless = 0
        batch.count = 0
        with self.gate:
            while True:
                with self._read_lock:
                    lane = self._lane(lib.NETLOG_RX)
                    slots = batch.slots(len(batch))
                    batch.count = check(read(self._handle, lane, slots), self._what)
                if batch.count or not self._wait_ready(deadline_s, fruitless):
                    return batch.count
                fruitless += 1

    def _write_batch(self, write: Callable[[Any, Any, Any, Any], int], slots: Any) -> Any:  # noqa: ANN401
        """Write what `slots` describes and return the `struct netlog_outcome *`."""
        outcome = ffi.new("struct netlog_outcome *")
        with self.gate, self._write_lock:
            result = write(self._handle, self._lane(lib.NETLOG_TX), slots, outcome)
            if outcome.error:
                before = self._refusals
                self._refusals = Refusals(
                    before.packets + outcome.refused_packets,
                    before.bytes + outcome.refused_bytes,
                    before.queue_full_packets + outcome.full_packets,
                    before.queue_full_bytes + outcome.full_bytes,
                    outcome.error,
                )
        check(result, self._what)
        return outcome

    def _lane(self, side: int) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
        """Return one side's lane, under that side's lock; made late, as a relay needs none."""
        if self._lanes[side] is None:
            self._lanes[side] = self.meter.acquire_lane()
        return self._lanes[side]

    def _wait_ready(self, deadline_s: float | None, fruitless: int) -> bool:
        """Sleep until there may be something to read; return False if the deadline has passed.

        Raises:
            StateError: the device was closed meanwhile.
        """
        remaining_s = None if deadline_s is None else deadline_s - time.monotonic()
        if remaining_s is not None and remaining_s <= 0:
            return False
        poller = select.poll()
        poller.register(self.gate.fd, select.POLLIN)
        if fruitless < FRUITLESS_WAKEUPS:
            poller.register(self._fd, select.POLLIN)
        else:
            remaining_s = PAUSE_S if remaining_s is None else min(PAUSE_S, remaining_s)
        # poll(2) counts in milliseconds. Rounded down, the last one would be a busy loop.
        timeout_ms = None if remaining_s is None else int(remaining_s * 1000) + 1
        ready = dict(poller.poll(timeout_ms))
        if self.gate.closed:
            raise StateError(f"{self._what} is closed")
        if ready.get(self._fd, 0) & select.POLLERR:
            self._clear_errors()
        return True

    def _clear_errors(self) -> None:
        """Clear the descriptor's pending errors; otherwise every wait would end at once."""
