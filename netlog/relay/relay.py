"""The relay: threads that move packets between a TUN and a UDP socket. It does not encrypt."""

import math
import os
import select
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from netlog._native import check, ffi, lib
from netlog.devices.sock import SockDevice
from netlog.devices.tun import TunDevice
from netlog.errors import DeviceError, NetlogError, StateError
from netlog.model.peers import Peer
from netlog.relay.peer_map import open_peers

__all__ = ["Count", "Peer", "Relay", "RelayCounters"]

# Reasons for a drop, by direction, with the numbers of csrc/relay/forward.h.
TX_DROPS = {
    "no_peer": lib.NETLOG_DROP_NO_PEER,
    "malformed": lib.NETLOG_DROP_MALFORMED,
    "not_ip": lib.NETLOG_DROP_NOT_IP,
    "send_failed": lib.NETLOG_DROP_SEND_FAILED,
    "send_queue_full": lib.NETLOG_DROP_SEND_QUEUE_FULL,
}
RX_DROPS = {
    "unknown_endpoint": lib.NETLOG_DROP_UNKNOWN_ENDPOINT,
    "truncated": lib.NETLOG_DROP_TRUNCATED,
    "malformed": lib.NETLOG_DROP_MALFORMED,
    "not_ip": lib.NETLOG_DROP_NOT_IP,
    "source_not_allowed": lib.NETLOG_DROP_SOURCE_NOT_ALLOWED,
    "write_failed": lib.NETLOG_DROP_WRITE_FAILED,
}


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and their bytes."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RelayCounters:
    """What happened to the packets that a relay read, since it was made.

    Attributes:
        tx: read from the TUN and sent to a peer.
        rx: received from a peer and written to the TUN.
        tx_dropped: read from the TUN and not sent, by reason: `no_peer` (no peer has the
            destination), `malformed`, `not_ip`, `send_failed`, `send_queue_full`.
        rx_dropped: received and not written, by reason: `unknown_endpoint`, `truncated`,
            `malformed`, `not_ip`, `source_not_allowed`, `write_failed`.

    Every reason is always present, with 0 if it never occurred.
    """

    tx: Count
    rx: Count
    tx_dropped: Mapping[str, Count]
    rx_dropped: Mapping[str, Count]


class Relay:
    """Moves packets between a TUN and the peers behind a UDP socket, with two threads a queue.

    A packet from the TUN goes to the peer that has its destination. A datagram goes into the TUN if
    it comes from a peer's endpoint, and that peer has the packet's source address. Everything else
    is dropped and counted.

    **The relay does not encrypt or authenticate.** Anyone who sees the datagrams can read the
    packets. Anyone who can send from a peer's address and port is taken for that peer. Use it on
    links that are trusted or protected otherwise.

    All threads count into the meter that the devices share. A batch and everything that happens to
    it count in one epoch, so TUN and socket agree in every message. Dropped packets and datagrams
    count where they arrived.

    With several queues, each queue has a TUN device, a socket, and two threads between them. The
    kernel keeps the packets of a flow, and the datagrams of a peer, on one queue, so they stay in
    order. Use as many queues as sockets: a device without a partner would not be read.

    Args:
        tun: one device, or the queues of one interface from `TunDevice.open_queues`.
        sock: one device, or as many on one port from `SockDevice.bind_group`. All devices have the
            same meter. Do not read from them elsewhere while the relay runs. Closing one stops the
            relay.
        peers: the peers.

    Raises:
        ValueError: the devices have different meters; there are not as many sockets as queues; two
            peers have the same endpoint or prefix; or the socket cannot send to a peer's IP
            version.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        tun: TunDevice | Sequence[TunDevice],
        sock: SockDevice | Sequence[SockDevice],
        peers: Sequence[Peer],
    ) -> None:
        tuns = [tun] if isinstance(tun, TunDevice) else list(tun)
        socks = [sock] if isinstance(sock, SockDevice) else list(sock)
        _check_queues(tuns, socks)
        for peer in peers:
            if not socks[0].reaches(peer.address.version):
                raise ValueError(
                    f"peer {peer}: a socket on {socks[0].address[0]} does not reach {peer.endpoint}"
                )
        self._queues = list(zip(tuns, socks, strict=True))
        self._devices: list[TunDevice | SockDevice] = [*tuns, *socks]
        self._meter = tuns[0].meter
        self._what = f"relay of {tuns[0].name}"
        self._peers = open_peers(peers)
        self._lock = threading.RLock()  # guards the fields below; re-entrant for signal handlers
        self._relay: Any = None
        self._lanes: list[Any] = []
        self._ended = [ffi.new("struct netlog_fates *") for _ in range(2)]  # of finished runs
        self._error: NetlogError | None = None

    def start(self) -> None:
        """Start all threads. A relay that ended by itself can be started again.

        Raises:
            StateError: it is running, a device is closed, or the meter has no lane for each thread.
            DeviceError: the system has too many threads or descriptors already.
        """
        with self._lock:
            if self.running:
                raise StateError("the relay is already running")
            self._reap()
            self._error = None
            entered: list[TunDevice | SockDevice] = []
            try:
                for device in self._devices:
                    device.gate.enter(id(self))
                    entered.append(device)
                # One lane for each thread: two for each queue, in the order of directions.
                while len(self._lanes) < 2 * len(self._queues):
                    self._lanes.append(self._meter.acquire_lane())
                self._relay = self._start()
            except BaseException:
                self._give_back(entered)
                raise
            for device in self._devices:
                device.on_close(self._device_closing)

    def stop(self, timeout_s: float = 1.0) -> None:
        """Stop all threads and wait until they have ended; packets still queued stay there.

        Does nothing if the relay does not run. `start` may follow.

        Args:
            timeout_s: how long to wait, in seconds; a batch takes well under a millisecond.

        Raises:
            TimeoutError: a thread has not ended; call again.
        """
        with self._lock:
            if self._relay is None:
                return
            lib.netlog_relay_stop(self._relay)
            if not _wait_done(lib.netlog_relay_done_fd(self._relay), timeout_s):
                raise TimeoutError(f"relay: the threads have not ended within {timeout_s} s")
            self._reap()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until the relay does not run, for whatever reason; `error` tells the reason.

        Args:
            timeout_s: the longest wait, in seconds; None: no limit.

        Returns:
            Whether the relay does not run.
        """
        with self._lock:
            if self._relay is None:
                return True
            # Wait on a duplicate: stop() in another thread closes the relay's own descriptor.
            done_fd = os.dup(lib.netlog_relay_done_fd(self._relay))
        try:
            return _wait_done(done_fd, timeout_s)
        finally:
            os.close(done_fd)

    @property
    def running(self) -> bool:
        """Whether the threads move packets."""
        with self._lock:
            return self._relay is not None and not _wait_done(
                lib.netlog_relay_done_fd(self._relay), 0
            )

    @property
    def error(self) -> NetlogError | None:
        """Why the relay ended by itself, or None.

        A DeviceError: a descriptor failed (EBADFD: the interface is gone). A StateError: a device
        was closed. `start` clears it.
        """
        with self._lock:
            return self._error or self._failure()

    def counters(self) -> RelayCounters:
        """Return what has happened to the packets, over all runs of this object."""
        tx, rx = self._fates(lib.NETLOG_TX), self._fates(lib.NETLOG_RX)
        return RelayCounters(
            tx=tx[lib.NETLOG_FORWARDED],
            rx=rx[lib.NETLOG_FORWARDED],
            tx_dropped={reason: tx[fate] for reason, fate in TX_DROPS.items()},
            rx_dropped={reason: rx[fate] for reason, fate in RX_DROPS.items()},
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- inside, under the lock -------------------------------------------------------------------

    def _start(self) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
        options = ffi.new("struct netlog_relay_options *")
        queues = ffi.new("struct netlog_relay_queue[]", len(self._queues))
        for i, (tun, sock) in enumerate(self._queues):
            queues[i].tun, queues[i].sock = tun.handle, sock.handle
            queues[i].lanes = self._lanes[2 * i : 2 * i + 2]
        options.queues, options.n_queues = queues, len(queues)
        options.peers = self._peers
        started = ffi.new("struct netlog_relay **")
        check(lib.netlog_relay_start(options, started), self._what)
        return started[0]

    def _reap(self) -> None:
        """Release what the threads used, after they have ended or were told to end."""
        if self._relay is None:
            return
        self._error = self._error or self._failure()
        relay, self._relay = self._relay, None
        for direction, sum_ in enumerate(self._ended):
            lib.netlog_relay_fates(relay, direction, sum_)
        lib.netlog_relay_close(relay)
        for device in self._devices:
            device.on_close(self._device_closing, forget=True)
        self._give_back(self._devices)

    def _give_back(self, devices: list[TunDevice | SockDevice]) -> None:
        for lane in self._lanes:
            self._meter.release_lane(lane)
        self._lanes = []
        for device in devices:
            device.gate.leave(id(self))

    def _device_closing(self) -> None:
        with self._lock:
            if self._relay is not None:
                self._error = self._failure() or StateError(
                    f"{self._what}: a device was closed while the relay ran"
                )
                self._reap()

    def _failure(self) -> DeviceError | None:
        if self._relay is None:
            return None
        direction, queue = ffi.new("int *"), ffi.new("uint32_t *")
        code = lib.netlog_relay_error(self._relay, direction, queue)
        if not code:
            return None
        thread = "netlog-tx" if direction[0] == lib.NETLOG_TX else "netlog-rx"
        if queue[0]:
            thread += str(queue[0])
        return DeviceError(code, f"{os.strerror(code)} (in {thread})", self._what)

    def _fates(self, direction: int) -> list[Count]:
        with self._lock:
            fates = ffi.new("struct netlog_fates *", self._ended[direction][0])
            if self._relay is not None:
                lib.netlog_relay_fates(self._relay, direction, fates)
        return [Count(*pair) for pair in zip(fates.packets, fates.bytes, strict=True)]


def _check_queues(tuns: Sequence[TunDevice], socks: Sequence[SockDevice]) -> None:
    if not tuns or len(tuns) != len(socks):
        raise ValueError(
            "expected as many sockets as TUN queues, "
            f"got {len(socks)} sockets and {len(tuns)} queues"
        )
    if any(device.meter is not tuns[0].meter for device in (*tuns, *socks)):
        raise ValueError("tun and sock have different meters: open all devices with one")


def _wait_done(fd: int, timeout_s: float | None) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    # poll(2) counts in milliseconds, so round up. Python resumes it after a signal.
    return bool(poller.poll(None if timeout_s is None else math.ceil(max(0, timeout_s) * 1000)))
