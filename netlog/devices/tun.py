"""The TUN device: whole IP packets, counted as they cross its descriptor."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Self

from netlog._native import ffi, lib
from netlog.devices.batch import PacketBatch
from netlog.devices.counted import CountedDevice
from netlog.devices.tun_open import (
    IFF_TUN,
    IFF_VNET_HDR,
    IFREQ_FLAGS,
    check_name,
    name_in,
    open_tun,
    refusal,
    set_offloads,
)
from netlog.devices.vnet_header import VnetHeader, vnet_header_of
from netlog.errors import DeviceError
from netlog.meter.meter import Meter
from netlog.model.flows import FlowArray

__all__ = ["TunDevice"]

OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
MIN_MTU = 68  # RFC 791 section 3.2: every link carries packets of this size
MAX_MTU = 65535

# The kinds of super-packets that each offload permits writing.
KINDS = {
    "tso": lib.NETLOG_COALESCE_TCP4 | lib.NETLOG_COALESCE_TCP6,
    "uso": lib.NETLOG_COALESCE_UDP4 | lib.NETLOG_COALESCE_UDP6,
}


class TunDevice(CountedDevice):
    """A TUN interface's descriptor: reading takes what the kernel sends into the tunnel (tx),
    writing hands it what came out of the tunnel (rx).

    Make one with `open` or `from_fd`. The interface exists while a descriptor of it is open, or if
    it was made persistent. The caller assigns addresses and routes, and sets the interface up.

    Thread safety: every method may be called from any thread; a PacketBatch belongs to one.

    Source: Linux Documentation/networking/tuntap.rst.
    """  # noqa: D205 - one sentence, two lines

    _set_statistics = staticmethod(lib.netlog_tun_set_statistics)

    def __init__(
        self, fd: int, name: str, meter: Meter | None, offloads: frozenset[str] | None = None
    ) -> None:
        handle = ffi.new("struct netlog_tun *", {"fd": fd})
        if offloads is not None:
            handle.vnet = True
            handle.kinds = sum(kind for offload, kind in KINDS.items() if offload in offloads)
            handle.rest = self._rest = ffi.new("struct netlog_tun_rest *")
        self._name = name
        self._offloads = offloads or frozenset()
        super().__init__(fd, name, meter, handle)

    @classmethod
    def open(
        cls,
        name: str = "",
        *,
        meter: Meter | None = None,
        mtu: int | None = None,
        offload: bool = False,
    ) -> Self:
        """Make a TUN interface, or attach to a persistent one that is free.

        Args:
            name: at most 15 bytes. With "", or a name with %d, the kernel chooses one; `name` then
                has it.
            meter: counts the device's packets; None: a meter of its own.
            mtu: bytes, 68 to 65535; None: unchanged (1500 for a new interface).
            offload: let the kernel hand over super-packets and packets with incomplete checksums,
                as far as it supports that; see `offloads`. They are counted as the packets that
                they become on the wire, and `read_batch` returns those. A relay is many times
                faster with it.

        Raises:
            ValueError: the name or the MTU is not valid.
            DeviceError: EBUSY: another process has the interface open; EPERM or EACCES: a privilege
                is missing; EINVAL: an interface of that name exists and is of another kind; ENOENT,
                ENXIO, ENODEV: the kernel has no TUN.
        """
        (device,) = cls.open_queues(name, 1, meter=meter, mtu=mtu, offload=offload)
        return device

    @classmethod
    def open_queues(
        cls,
        name: str,
        count: int,
        *,
        meter: Meter | None = None,
        mtu: int | None = None,
        offload: bool = False,
    ) -> list[Self]:
        """Open several queues of one interface, each as a device of its own, for as many threads.

        The kernel hands each packet to one of the queues, and all packets of a flow to the same
        one: the queue that last wrote that flow, or one chosen by a hash. So all of them must be
        read. If the kernel, or the existing interface, has fewer queues, netlog logs that and
        returns fewer devices.

        Args:
            name: as for `open`. A persistent interface must have been made with
                `ip tuntap add dev NAME mode tun multi_queue`.
            count: number of queues, 1 to 256.
            meter: shared by all devices; None: each has a meter of its own.
            mtu: as for `open`.
            offload: as for `open`.

        Raises:
            ValueError: as `open`, or the count is out of range.
            DeviceError: as `open`.
        """
        check_name(name)
        if mtu is not None and not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError(f"mtu: expected {MIN_MTU} to {MAX_MTU} bytes, got {mtu}")
        if not 1 <= count <= lib.NETLOG_MAX_QUEUES:
            raise ValueError(f"count: expected 1 to {lib.NETLOG_MAX_QUEUES} queues, got {count}")
        with contextlib.ExitStack() as opened, contextlib.ExitStack() as devices:
            tun = open_tun(opened, name, count, mtu=mtu, offload=offload)
            made: list[Self] = []
            for fd in tun.fds:
                made.append(cls._duplicate(fd, tun.name, meter, tun.offloads))
                devices.callback(made[-1].close)
            devices.pop_all()
            return made

    @classmethod
    def from_fd(cls, fd: int, *, meter: Meter | None = None, offload: bool = False) -> Self:
        """Use the descriptor of a TUN that another program made.

        The device works on a duplicate: the caller closes `fd`. Both share O_NONBLOCK, which netlog
        sets.

        Args:
            fd: attached with IFF_TUN and IFF_NO_PI. netlog can check IFF_NO_PI only with
                CAP_NET_ADMIN and from within the interface's network namespace; elsewhere, if it is
                missing, all packets count as unattributed. With IFF_VNET_HDR, netlog accepts
                whatever the kernel hands over, as `open` does with offloads. The header's length
                and byte order must stay as they are now (TUNSETVNETHDRSZ, TUNSETVNETLE,
                TUNSETVNETBE).
            meter: as for `open`.
            offload: with IFF_VNET_HDR, set the interface's offloads as `open` does, and write
                super-packets too. Otherwise the offloads stay as they are. The kernel cannot report
                them: then `offloads` is empty, and packets are written one by one.

        Raises:
            ValueError: `fd` is not a TUN, or a TUN of another kind (TAP, with packet information,
                with a virtio header of more than 64 bytes).
            DeviceError: `fd` is not open (EBADF).
        """
        name, flags = _identify(fd)
        if not flags & IFF_VNET_HDR:
            return cls._duplicate(fd, name, meter)
        # The program that attached it may have set TUN_F_TSO_ECN: then super-packets can have ECN
        # bits that the reader must handle.
        offloads = set_offloads(fd, name, wanted=True) if offload else frozenset()
        return cls._duplicate(fd, name, meter, offloads, ecn=True)

    @classmethod
    def _duplicate(
        cls,
        fd: int,
        name: str,
        meter: Meter | None,
        offloads: frozenset[str] | None = None,
        *,
        ecn: bool = False,
    ) -> Self:
        """Return a device of a duplicate of `fd`; with virtio headers unless `offloads` is None."""
        # Ask even about an interface that netlog attached: a persistent one keeps what another
        # program set.
        header = VnetHeader(0, swapped=False) if offloads is None else vnet_header_of(fd)
        own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        try:
            os.set_blocking(own, False)
            device = cls(own, name, meter, offloads)
        except BaseException:
            os.close(own)
            raise
        handle = device.handle
        handle.header_more, handle.swapped = header.more_bytes, header.swapped
        handle.ecn = ecn
        return device

    @property
    def name(self) -> str:
        """The interface's name when the device was made."""
        return self._name

    @property
    def offloads(self) -> frozenset[str]:
        """What the kernel leaves to the device: "checksum", "tso" (TCP) and "uso" (UDP)."""
        return self._offloads

    def read_batch(self, batch: PacketBatch, timeout_s: float | None = 0.0) -> int:
        """Read packets into `batch`, from slot 0 on, until it is full or there are no more.

        With `offloads`, a super-packet is returned as the packets that it becomes on the wire; the
        next call may return some of them.

        Args:
            batch: its slots and lengths are overwritten.
            timeout_s: how long to wait for the first packet, in seconds; 0: not at all, None:
                without limit.

        Returns:
            How many packets, also in `batch.count`; 0 after the timeout.

        Raises:
            StateError: the device is closed, or its meter has no lane left.
            DeviceError: the interface is gone (EBADFD).
        """
        return self._read_batch(lib.netlog_tun_read, batch, timeout_s)

    def read(self, timeout_s: float | None = None) -> bytes:
        """Read one packet.

        Args:
            timeout_s: how long to wait for it, in seconds; 0: not at all, None: without limit.

        Raises:
            TimeoutError: no packet came in time.
            StateError, DeviceError: as `read_batch`.
        """
        batch = PacketBatch(1)
        if not self.read_batch(batch, timeout_s):
            raise TimeoutError(f"{self._what}: no packet within {timeout_s} s")
        return bytes(batch.packet(0))

    def write_batch(self, batch: PacketBatch, count: int) -> int:
        """Write the packets in the first `count` slots. A refused packet does not stop the rest.

        Returns:
            How many the kernel accepted; only these are counted. `refusals` counts the others.

        Raises:
            ValueError: there are fewer slots, or a packet has 0 bytes; nothing was written.
            StateError: the device is closed, or its meter has no lane left.
            DeviceError: the interface is gone (EBADFD).
        """
        slots = batch.outgoing(count, least_bytes=1)
        return int(self._write_batch(lib.netlog_tun_write, slots).done_packets)

    def write(self, packet: bytes) -> None:
        """Write one packet.

        Raises:
            ValueError: it has 0 bytes, or more than 65535.
            StateError: as `write_batch`.
            DeviceError: the kernel refused it: EINVAL: not an IP packet; EIO: the interface is
                down.
        """
        batch = PacketBatch(1, max(1, len(packet)))
        batch.put(0, packet)
        outcome = self._write_batch(lib.netlog_tun_write, batch.outgoing(1, least_bytes=1))
        if outcome.error:
            raise DeviceError(outcome.error, os.strerror(outcome.error), self._what)

    def _rows(self) -> FlowArray:
        return self.meter.snapshot().tun_rows()


def _identify(fd: int) -> tuple[str, int]:
    try:
        answer = fcntl.ioctl(fd, lib.TUNGETIFF, bytes(IFREQ_FLAGS.size))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise refusal(error, f"fd {fd}", None) from None
        raise ValueError(f"fd {fd} is not a TUN, or has no interface: {error}") from None
    _, flags = IFREQ_FLAGS.unpack(answer)
    name = name_in(answer)
    for wrong, what in (
        (not flags & IFF_TUN, "is a TAP; expected IFF_TUN"),
        (_has_packet_information(fd, name), "has packet information; expected IFF_NO_PI"),
    ):
        if wrong:
            raise ValueError(f"fd {fd} ({name}) {what}")
    return name, flags


def _has_packet_information(fd: int, name: str) -> bool:
    """Return whether a TUN was attached without IFF_NO_PI, as far as this thread can see.

    TUNGETIFF does not tell: it always sets IFF_NOFILTER, which is the same bit. The interface's
    attributes do, but only from within its network namespace.
    """
    try:
        namespace = fcntl.ioctl(fd, lib.TUNGETDEVNETNS)
    except OSError:
        return False
    try:
        if not os.path.samestat(os.fstat(namespace), OWN_NAMESPACE.stat()):
            return False
    finally:
        os.close(namespace)
    from pyroute2 import IPRoute  # noqa: PLC0415 - it would double the import time of netlog

    with IPRoute() as route:
        (link,) = route.link("get", ifname=name)
    return bool(link.get(("linkinfo", "data", "IFLA_TUN_PI")))
