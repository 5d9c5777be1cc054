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

# Reasons of a drop, by direction, as csrc/relay/forward.h numbers them.
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
    """What became of the packets that a relay read, since it was made.

    Attributes:
        tx: read from the TUN and sent to a peer.
        rx: received from a peer and written to the TUN.
        tx_dropped: read from the TUN and not sent, by reason: `no_peer` has the destination,
            `malformed`, `not_ip`, `send_failed`, `send_queue_full`.
        rx_dropped: received and not written, by reason: `unknown_endpoint`, `truncated`,
            `malformed`, `not_ip`, `source_not_allowed`, `write_failed`.

    Every reason is there, also if it never came up.
    """

    tx: Count
    rx: Count
    tx_dropped: Mapping[str, Count]
    rx_dropped: Mapping[str, Count]


class Relay:
    """Moves packets from a TUN to the peers behind a UDP socket, and back, in two threads a queue.

    A packet out of the TUN goes to the peer that has its destination. A datagram goes into the TUN
    if it comes from a peer's endpoint and that peer has the packet's source address. All else is
    dropped and counted.

    **It does not encrypt or authenticate**: whoever sees the datagrams reads the packets, and
    whoever can send from a peer's address and port is that peer. Use it on links that are trusted
    or protected otherwise.

    All threads count into the meter that the devices share, each batch with all that becomes of
    it in one epoch; so TUN and socket agree in every message. Packets and datagrams that are
    dropped count where they arrived.

    Of several queues each has a TUN device and a socket, and two threads between them. The kernel
    keeps the packets of a flow, and the datagrams of a peer, on one queue, so that they stay in
    their order. Devices that have no partner are read by nobody: use as many queues as there are of
    either.

    Args:
        tun: one, or the queues of one interface: `TunDevice.open_queues`.
        sock: one, or as many on one port: `SockDevice.bind_group`. All devices are of one meter.
            Nobody else should read from them while the relay runs. Closing one stops the relay.
        peers: who there is.

    Raises:
        ValueError: the devices have different meters, or there are not as many of one kind as of
            the other; two peers have the same endpoint or prefix; the socket can not reach a peer's
            kind of address.

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
        self._lock = threading.RLock()  # around what follows; re-entrant for signal handlers
        self._relay: Any = None
        self._lanes: list[Any] = []
        self._ended = [ffi.new("struct netlog_fates *") for _ in range(2)]  # of runs that are over
        self._error: NetlogError | None = None

    def start(self) -> None:
        """Start all threads. A relay that ended by itself starts afresh.

        Raises:
            StateError: it is running, a device is closed, or the meter has no lane for each thread.
            DeviceError: there are too many threads or descriptors already.
        """
        with self._lock:
            if self.running:
                raise StateError("relay is running already")
            self._reap()
            self._error = None
            entered: list[TunDevice | SockDevice] = []
            try:
                for device in self._devices:
                    device.gate.enter(id(self))
                    entered.append(device)
                # One for each thread; by queue, in it by direction.
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

        On a relay that does not run it does nothing. `start` may follow.

        Args:
            timeout_s: how long to wait; a batch takes well under a millisecond.

        Raises:
            TimeoutError: a thread has not ended; call again.
        """
        with self._lock:
            if self._relay is None:
                return
            lib.netlog_relay_stop(self._relay)
            if not _wait_done(lib.netlog_relay_done_fd(self._relay), timeout_s):
                raise TimeoutError(f"relay: its threads have not ended within {timeout_s} s")
            self._reap()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until the relay does not run, for whatever reason: see `error`.

        Args:
            timeout_s: how long at most; None: for ever.

        Returns:
            Whether it does not run.
        """
        with self._lock:
            if self._relay is None:
                return True
            # A duplicate: somebody else's stop() closes the relay's own.
            done_fd = os.dup(lib.netlog_relay_done_fd(self._relay))
        try:
            return _wait_done(done_fd, timeout_s)
        finally:
            os.close(done_fd)

    @property
    def running(self) -> bool:
        """Whether packets are moved."""
        with self._lock:
            return self._relay is not None and not _wait_done(
                lib.netlog_relay_done_fd(self._relay), 0
            )

    @property
    def error(self) -> NetlogError | None:
        """Why the relay ended by itself, or None.

        A DeviceError if a descriptor failed (EBADFD: the interface is gone), a StateError if a
        device was closed. `start` clears it.
        """
        with self._lock:
            return self._error or self._failure()

    def counters(self) -> RelayCounters:
        """What became of the packets so far, over all runs of this object."""
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
        """Take back what the threads were given, once they have ended or been told to."""
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
            f"expected as many sockets as queues of the TUN, got {len(socks)} and {len(tuns)}"
        )
    if any(device.meter is not tuns[0].meter for device in (*tuns, *socks)):
        raise ValueError("tun and sock count into different meters: give all the same one")


def _wait_done(fd: int, timeout_s: float | None) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    # Rounded up: poll(2) counts in milliseconds. It resumes by itself after a signal.
    return bool(poller.poll(None if timeout_s is None else math.ceil(max(0, timeout_s) * 1000)))
