"""Taps: counting what crosses an interface that another program reads or writes."""

import errno
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any, Self

from netlog._closing import Closing
from netlog._native import check, ffi, lib
from netlog.errors import DeviceError
from netlog.meter.meter import Meter
from netlog.model.addresses import MAX_PORT
from netlog.netlink.interfaces import index_of

__all__ = ["PACKET_SOCKET", "Tap", "TapCounters", "check_rights"]

PACKET_SOCKET = "packet socket"
"""Names the object in errors about CAP_NET_RAW."""

RING_BYTES = 16 << 20
"""Room for 70 000 packets: 0.1 s at 700 000 packets a second."""
MAX_THREADS = 64


@dataclass(frozen=True, slots=True)
class TapCounters:
    """What happened to the frames at a tap.

    Attributes:
        frames: found in the ring. A super-packet is one frame.
        counted: counted in the meter. `snapped` of them are unattributed, because their headers are
            longer than the captured part.
        not_ip: left out: not IP, according to the link layer.
        other_host: left out: neither from nor to this host.
        malformed: left out: not UDP datagrams, although the kernel's filter took them for such.
        unreadable: frames that the ring announced but did not hold.
        kernel_drops: not counted: the ring had no room for them.
        kernel_freezes: times that the ring was full.
    """

    frames: int = 0
    counted: int = 0
    snapped: int = 0
    not_ip: int = 0
    other_host: int = 0
    malformed: int = 0
    unreadable: int = 0
    kernel_drops: int = 0
    kernel_freezes: int = 0

    def __add__(self, other: "TapCounters") -> "TapCounters":
        names = self.__dataclass_fields__
        return TapCounters(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Tap(Closing):
    """Counts what crosses an interface into a meter, in threads of the core, until it is closed.

    A tap sees what the interface is given. That includes packets that a TUN's full queue or a
    socket's full buffer drops afterwards. A packet is counted within 50 ms.

    Make one with `on_tun` or `on_sock`.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, what: str, ifindex: int, meter: Meter) -> None:
        self.what = what
        self.ifindex = ifindex
        self._meter = meter
        self._lock = threading.Lock()  # guards the fields below
        self._taps: list[Any] = []
        self._lanes: list[Any] = []
        self._sums = ffi.new("uint64_t[]", lib.NETLOG_TAP_COUNTS)  # of closed taps

    @classmethod
    def on_tun(
        cls, interface: str, *, meter: Meter, threads: int = 1, ring_bytes: int = RING_BYTES
    ) -> Self:
        """Count the IP packets of an interface.

        Args:
            interface: its name; a TUN, a TAP or any other. Packets that leave this host through it
                are tx.
            meter: whose tables count; it needs a free lane for each thread.
            threads: 1 to 64; they share the packets by flow (PACKET_FANOUT).
            ring_bytes: size of each thread's ring.

        Raises:
            DeviceError: there is no such interface, or CAP_NET_RAW is missing (EPERM).
            ValueError: a number is out of range.
            StateError: the meter has no lanes left.
        """
        return cls._open(interface, 0, meter, threads, ring_bytes)

    @classmethod
    def on_sock(
        cls,
        port: int,
        interface: str | None = None,
        *,
        meter: Meter,
        threads: int = 1,
        ring_bytes: int = RING_BYTES,
    ) -> Self:
        """Count the UDP datagrams from and to a local port, by their remote endpoint.

        Args:
            port: the local port, 1 to 65535.
            interface: where they cross; None: everywhere. A datagram that passes several interfaces
                of one host (a VLAN and the link that carries it, a bridge) is then counted at each;
                to avoid that, name the interface.
            meter: as for `on_tun`.
            threads: as for `on_tun`.
            ring_bytes: as for `on_tun`.

        Raises:
            DeviceError, ValueError, StateError: as `on_tun`.
        """
        if not 1 <= port <= MAX_PORT:
            raise ValueError(f"port {port}: expected 1 to {MAX_PORT}")
        return cls._open(interface, port, meter, threads, ring_bytes)

    @classmethod
    def _open(
        cls, interface: str | None, port: int, meter: Meter, threads: int, ring_bytes: int
    ) -> Self:
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads: expected 1 to {MAX_THREADS}, got {threads}")
        what = " on ".join(filter(None, (f"udp port {port}" if port else "", interface or "")))
        tap = cls(what, 0 if interface is None else index_of(interface), meter)
        options = ffi.new("struct netlog_tap_options *")
        options.ifindex = tap.ifindex
        options.point = lib.NETLOG_SOCK if port else lib.NETLOG_TUN
        options.port = port
        options.blocks = min(ring_bytes // lib.NETLOG_TAP_BLOCK_BYTES, lib.NETLOG_TAP_MAX_BLOCKS)
        options.fanout = -1 if threads == 1 else lib.NETLOG_TAP_NEW_FANOUT
        try:
            for _ in range(threads):
                tap._add(options)
                if threads > 1:
                    options.fanout = check(lib.netlog_tap_fanout(tap._taps[0]), what)
            for one in tap._taps:
                check(lib.netlog_tap_start(one), what)
        except BaseException:
            tap.close()
            raise
        return tap

    def _add(self, options: Any) -> None:  # noqa: ANN401 - cffi's pointers have no type of their own
        opened = ffi.new("struct netlog_tap **")
        self._lanes.append(self._meter.acquire_lane())
        result = lib.netlog_tap_open(options, self._lanes[-1], opened)
        if result in (-errno.EPERM, -errno.EACCES):
            raise DeviceError(-result, f"{os.strerror(-result)} ({self.what})", PACKET_SOCKET)
        check(result, self.what)
        self._taps.append(opened[0])

    @property
    def gone(self) -> bool:
        """Whether its interface was removed, or the tap was closed."""
        with self._lock:
            return not self._taps or any(map(lib.netlog_tap_is_gone, self._taps))

    def counters(self) -> TapCounters:
        """Return what has happened to the frames so far."""
        with self._lock:
            sums = ffi.new("uint64_t[]", list(self._sums))
            for tap in self._taps:
                lib.netlog_tap_counts(tap, sums)
        return TapCounters(
            frames=sums[lib.NETLOG_TAP_FRAMES],
            counted=sums[lib.NETLOG_TAP_COUNTED],
            snapped=sums[lib.NETLOG_TAP_SNAPPED],
            not_ip=sums[lib.NETLOG_TAP_NOT_IP],
            other_host=sums[lib.NETLOG_TAP_OTHER_HOST],
            malformed=sums[lib.NETLOG_TAP_MALFORMED],
            unreadable=sums[lib.NETLOG_TAP_UNREADABLE],
            kernel_drops=sums[lib.NETLOG_TAP_DROPS],
            kernel_freezes=sums[lib.NETLOG_TAP_FREEZES],
        )

    def close(self) -> None:
        """Count what has come so far, and end. Takes at most 0.1 s. Closing twice is fine."""
        with self._lock:
            for tap in self._taps:
                lib.netlog_tap_stop(tap)
            for tap in self._taps:
                lib.netlog_tap_counts(tap, self._sums)
                lib.netlog_tap_close(tap)
            for lane in self._lanes:
                self._meter.release_lane(lane)
            self._taps, self._lanes = [], []


def check_rights() -> None:
    """Check that this process may tap at all. No interface needs to exist.

    Raises:
        DeviceError: CAP_NET_RAW is missing in this network namespace (EPERM).

    Thread safety: any thread.
    """
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        raise DeviceError(error.errno, str(error.strerror), PACKET_SOCKET) from error
