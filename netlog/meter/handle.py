"""How a process holds a meter of the core: its lanes, its waits, and closing it."""

import contextlib
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from netlog._closing import Closing
from netlog._native import LaneWriter, ffi, lib
from netlog.errors import StateError
from netlog.meter.file import check_meter_file
from netlog.meter.snapshot import NOTHING

__all__ = ["MeterHandle", "nanoseconds"]


def nanoseconds(timeout_s: float) -> int:
    """Return a timeout for the core, limited to 0 s to 1e9 s (30 years)."""
    return int(min(max(timeout_s, 0.0), 1e9) * 1e9)


class MeterHandle(LaneWriter, Closing):
    """A `struct netlog_meter *` with the locks that separate its users; the base of `Meter`.

    After fork(2) it stays the parent's, unless it is shared: the child may only close it.

    Thread safety: every method may be called from any thread.
    """

    def _hold(self, handle: Any, path: str | None) -> None:  # noqa: ANN401 - cffi's pointers have no type of their own
        self._meter: Any = handle
        self._path = path
        self._shared = path is None and bool(lib.netlog_meter_options_of(handle).shared)
        self._parents = False
        self._lane: Any = None
        self._unattributed = NOTHING
        # The open devices that count into this meter: they must be extracted together.
        self.devices: weakref.WeakSet[Any] = weakref.WeakSet()
        # The number of late lanes of a swap that was not drained yet; None: there is none.
        self._undrained: int | None = None
        self._drained = False
        self._damage_told = False
        self._lanes_out = 0
        self._make_locks()
        _held.add(self)

    def _make_locks(self) -> None:
        # _poll_lock: pollers exclude each other. close() takes it, and _wait_lock, which a thread
        # inside wait() holds. The update methods share one lane, with a lock in LaneWriter.
        self._poll_lock = threading.Lock()
        self._wait_lock = threading.Lock()
        self._lanes_lock = threading.Lock()

    def after_fork(self) -> None:
        """Leave the meter to the parent; if it is shared, leave the parent's lanes to it.

        The child has a copy of this object, whose lanes the parent's threads count on. A meter in
        memory is copied, too: if both read it, its counts would be sent twice.
        """
        self._make_locks()  # Another thread of the parent may have held one.
        self._forget_lane()
        self._parents = not self._shared
        if self._lane is not None:
            self._lane = None
            self._lanes_out -= 1
        for device in tuple(self.devices):
            device.after_fork(shared=self._shared)

    @property
    def handle(self) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
        """The `struct netlog_meter *`, for the modules that pass it to the core."""
        self._check_open()
        return self._meter

    def acquire_lane(self) -> Any:  # noqa: ANN401 - as above
        """Return a lane for one writer, a `struct netlog_lane *`. Return it with `release_lane`.

        Raises:
            StateError: the meter is closed, or all of its lanes are taken.
            MeterFileError: the meter's file system has no room for another lane, or this process
                was forked from the one that opened the file.
        """
        with self._lanes_lock:
            return self._take_lane()

    def _take_lane(self) -> Any:  # noqa: ANN401 - as above
        """Return a lane, as `acquire_lane`; the caller holds `_lanes_lock`."""
        self._check_open()
        lane = ffi.new("struct netlog_lane **")
        result = lib.netlog_meter_acquire_lane(self._meter, lane)
        if result == -errno.EAGAIN:
            raise StateError("meter: all lanes are taken; open it with a larger max_lanes")
        check_meter_file(result, self._path)
        self._lanes_out += 1
        return lane[0]

    def _open_lane(self) -> None:
        """Take the lane of the update methods. LaneWriter calls it when it has none."""
        with self._lanes_lock:
            self._check_open()
            if self._lane is None:
                self._lane = self._take_lane()
                self._use_lane(int(ffi.cast("uintptr_t", self._lane)))

    def release_lane(self, lane: Any) -> None:  # noqa: ANN401 - as above
        """Return a lane that nobody counts on any more. Its counts stay for the poller."""
        with self._lanes_lock:
            if not self._parents:
                lib.netlog_lane_release(lane)
            self._lanes_out -= 1

    def forget_lane(self) -> None:
        """Forget a lane that the parent has."""
        self._lanes_out -= 1

    @property
    def id(self) -> bytes:
        """The meter's own 16 random bytes; with an epoch's number they identify its counts."""
        with self._used():
            return bytes(ffi.buffer(lib.netlog_meter_id(self._meter), 16))

    @property
    def path(self) -> str | None:
        """The meter's file; None: the meter is in memory and ends with this process."""
        return self._path

    @property
    def max_flows(self) -> int:
        """Connections per lane and bank at the TUN."""
        with self._used():
            return int(lib.netlog_meter_options_of(self._meter).max_flows)

    @property
    def max_lanes(self) -> int:
        """How many threads may count at the same time."""
        with self._used():
            return int(lib.netlog_meter_options_of(self._meter).max_lanes)

    @property
    def region_bytes(self) -> int:
        """Bytes of address space that the meter reserves, whether touched or not."""
        with self._used():
            return int(lib.netlog_meter_region_bytes(self._meter))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._meter is None

    def close(self) -> None:
        """Free the memory; counts that were not extracted are lost. Closing twice is fine.

        Raises:
            StateError: a device or a relay still counts into it.
        """
        if self._meter is None:
            return
        self.wake()
        with self._wait_lock, self._poll_lock, self._lanes_lock:
            if self._meter is None:
                return
            own = self._lane is not None
            if self._lanes_out > own:
                raise StateError("meter: close the devices and relays that count into it first")
            self._use_lane(0)
            lib.netlog_meter_close(self._meter)
            self._meter = self._lane = None

    def __del__(self) -> None:
        # A last resort for a meter that nobody closed. If lanes are still out, close() refuses and
        # the memory stays mapped.
        if getattr(self, "_meter", None) is not None:
            with contextlib.suppress(StateError):
                self.close()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a table is nearly full, `wake` is called, or `timeout_s` seconds have passed.

        Returns:
            Whether it was woken.

        Raises:
            StateError: the meter is closed.
        """
        with self._wait_lock:
            self._check_open()
            return bool(lib.netlog_meter_wait(self._meter, nanoseconds(timeout_s)))

    def wake(self) -> None:
        """End the present `wait`, or the next one. Does nothing on a closed meter."""
        with self._lanes_lock:
            if self._meter is not None and not self._parents:
                lib.netlog_meter_wake(self._meter)

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        """Keep the meter from being closed meanwhile; for code that takes no other lock."""
        with self._lanes_lock:
            self._check_open()
            yield

    def _check_open(self) -> None:
        """Raise if closed. The caller holds a lock that `close` takes, so the meter stays open."""
        if self._meter is None:
            raise StateError("meter is closed")
        if self._parents:
            check_meter_file(-errno.EPERM if self._path else 0, self._path)
            raise StateError(
                "meter: it belongs to the process that forked this one; open another, or share it"
            )


_held: weakref.WeakSet[MeterHandle] = weakref.WeakSet()
"""The meters of this process. Only a fork needs to find them."""


def _after_fork() -> None:
    for meter in tuple(_held):
        meter.after_fork()


os.register_at_fork(after_in_child=_after_fork)
