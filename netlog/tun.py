"""The TUN device: whole IP packets, counted as they cross its descriptor."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any, Self

from netlog._counted import CountedDevice
from netlog._native import ffi, lib
from netlog._vnet_header import vnet_header_of
from netlog.batch import PacketBatch
from netlog.errors import DeviceError
from netlog.flows import FlowArray
from netlog.meter import Meter

__all__ = ["TunDevice"]

_log = logging.getLogger("netlog")

CLONE_DEVICE = "/dev/net/tun"
OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
MIN_MTU = 68  # RFC 791 section 3.2: every link carries that much
MAX_MTU = 65535

# linux/if.h, linux/if_tun.h: what TUNSETIFF takes and TUNGETIFF gives.
IFNAMSIZ = 16
IFREQ_FLAGS = struct.Struct(f"{IFNAMSIZ}sH22x")
IFREQ_MTU = struct.Struct(f"{IFNAMSIZ}si20x")
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
SIOCSIFMTU = 0x8922

# linux/if_tun.h: what TUNSETOFFLOAD takes, and which super-packets may be written then. The kernel
# has both of USO or neither, from 6.2 on.
TUN_F_CSUM, TUN_F_TSO, TUN_F_USO = 0x01, 0x06, 0x60
OFFLOADS = (
    (TUN_F_CSUM | TUN_F_TSO | TUN_F_USO, ("checksum", "tso", "uso")),
    (TUN_F_CSUM | TUN_F_TSO, ("checksum", "tso")),
    (TUN_F_CSUM, ("checksum",)),
)
KINDS = {
    "tso": lib.NETLOG_COALESCE_TCP4 | lib.NETLOG_COALESCE_TCP6,
    "uso": lib.NETLOG_COALESCE_UDP4 | lib.NETLOG_COALESCE_UDP6,
}

RIGHTS = (
    "run as root (CAP_NET_ADMIN), or let root make it for you: "
    "`ip tuntap add dev NAME mode tun user USER`"
)


class TunDevice(CountedDevice):
    """A TUN interface's descriptor: reading takes what the kernel sends into the tunnel (tx),
    writing hands it what came out of the tunnel (rx).

    Made with `open` or `from_fd`. The interface exists while a descriptor of it is open, unless it
    was made persistent. Addresses, routes and setting it up are left to the caller.

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
        """Make a TUN interface, or attach to one that is persistent and free.

        Args:
            name: at most 15 bytes; "" or one with %d lets the kernel choose, see `name` then.
            meter: counts the device's packets; None: a meter of its own.
            mtu: bytes, 68 to 65535; None: as it is (1500 if new).
            offload: let the kernel hand over super-packets with checksums that are left to do, as
                far as it can; see `offloads`. They count as the packets that they are on the wire,
                and these are what `read_batch` hands over. A relay is many times faster with it.

        Raises:
            ValueError: the name or the MTU can not be one.
            DeviceError: EBUSY if another process has the interface open; EPERM or EACCES without
                the rights; EINVAL if an interface of that name exists that is no such TUN; ENOENT,
                ENXIO, ENODEV if the kernel has no TUN.
        """
        _check_name(name)
        if mtu is not None and not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError(f"mtu: expected {MIN_MTU} to {MAX_MTU} bytes, got {mtu}")
        fd = _open_clone_device()
        try:
            vnet = offload and _has_vnet(fd, name)
            given = _attach(fd, name, IFF_VNET_HDR if vnet else 0)
            if mtu is not None:
                _set_mtu(given, mtu)
            return cls(fd, given, meter, _set_offloads(fd, given, wanted=vnet))
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int, *, meter: Meter | None = None, offload: bool = False) -> Self:
        """Use the descriptor of a TUN that somebody else made.

        The device works on a duplicate: `fd` stays the caller's to close. Both share O_NONBLOCK,
        which is set.

        Args:
            fd: attached with IFF_TUN and IFF_NO_PI. IFF_NO_PI can be checked only with
                CAP_NET_ADMIN and from within the interface's network namespace; where it is missing
                elsewhere, all packets count as unattributed. With IFF_VNET_HDR whatever the kernel
                hands over is taken, as `open` has it with offloads; the header's length and byte
                order must stay as they are now (TUNSETVNETHDRSZ, TUNSETVNETLE, TUNSETVNETBE).
            meter: as for `open`.
            offload: with IFF_VNET_HDR, set the interface's offloads as `open` does, and write
                super-packets too. Otherwise they stay as they are, which can not be read: then
                `offloads` is empty, and packets are written one by one.

        Raises:
            ValueError: `fd` is no TUN, or one of another kind (TAP, with packet information, with a
                virtio header of more than 64 bytes).
            DeviceError: `fd` is not open (EBADF).
        """
        name, flags = _identify(fd)
        header = vnet_header_of(fd) if flags & IFF_VNET_HDR else None
        own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        try:
            os.set_blocking(own, False)
            if header is None:
                return cls(own, name, meter)
            offloads = _set_offloads(own, name, wanted=True) if offload else frozenset()
            device = cls(own, name, meter, offloads)
        except BaseException:
            os.close(own)
            raise
        handle = device.handle
        handle.header_more, handle.swapped = header.more_bytes, header.swapped
        handle.ecn = True
        return device

    @property
    def name(self) -> str:
        """The interface's name, as it was when the device was made."""
        return self._name

    @property
    def offloads(self) -> frozenset[str]:
        """What the kernel leaves to the device: "checksum", "tso" (TCP) and "uso" (UDP)."""
        return self._offloads

    def read_batch(self, batch: PacketBatch, timeout_s: float | None = 0.0) -> int:
        """Read packets into `batch`, from slot 0 on, until it is full or there are no more.

        With `offloads` a super-packet is handed over as the packets that it is on the wire, some of
        them perhaps by the next call.

        Args:
            batch: its slots and lengths are overwritten.
            timeout_s: how long to wait for the first packet; 0: not at all, None: for ever.

        Returns:
            How many packets, also in `batch.count`; 0 after the time-out.

        Raises:
            StateError: the device is closed, or its meter has no lane left.
            DeviceError: the interface is gone (EBADFD).
        """
        return self._read_batch(lib.netlog_tun_read, batch, timeout_s)

    def read(self, timeout_s: float | None = None) -> bytes:
        """Read one packet.

        Args:
            timeout_s: how long to wait for it; 0: not at all, None: for ever.

        Raises:
            TimeoutError: there was none in time.
            StateError, DeviceError: as `read_batch`.
        """
        batch = PacketBatch(1)
        if not self.read_batch(batch, timeout_s):
            raise TimeoutError(f"{self._what}: no packet within {timeout_s} s")
        return bytes(batch.packet(0))

    def write_batch(self, batch: PacketBatch, count: int) -> int:
        """Write the packets in the first `count` slots; one that is refused does not stop the rest.

        Returns:
            How many the kernel took; only these are counted. `refusals` has the others.

        Raises:
            ValueError: there are fewer slots, or a packet of 0 bytes; nothing was written.
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
            DeviceError: the kernel refused it: EINVAL if it is no IP packet, EIO if the interface
                is down.
        """
        batch = PacketBatch(1, max(1, len(packet)))
        batch.put(0, packet)
        outcome = self._write_batch(lib.netlog_tun_write, batch.outgoing(1, least_bytes=1))
        if outcome.error:
            raise DeviceError(outcome.error, os.strerror(outcome.error), self._what)

    def _rows(self) -> FlowArray:
        return self.meter.snapshot().tun_rows()


def _check_name(name: str) -> None:
    encoded = os.fsencode(name)
    if len(encoded) >= IFNAMSIZ:
        raise ValueError(f"{name!r}: an interface's name has at most {IFNAMSIZ - 1} bytes")
    if name in {".", ".."} or re.search(r"[\s/:\0]", name):
        raise ValueError(f"{name!r}: not a name for an interface")
    if "%" in name.replace("%d", "", 1):
        raise ValueError(f"{name!r}: expected at most one %d in an interface's name")


def _open_clone_device() -> int:
    try:
        return os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError as error:
        raise _refusal(error, CLONE_DEVICE, RIGHTS) from None
    except OSError as error:
        raise _refusal(error, CLONE_DEVICE, "the kernel has no TUN driver loaded") from None


def _attach(fd: int, name: str, flags: int) -> str:
    request: Any = IFREQ_FLAGS.pack(os.fsencode(name), IFF_TUN | IFF_NO_PI | flags)
    hints = {
        errno.EPERM: RIGHTS,
        errno.EBUSY: "another process has this interface open",
        errno.EINVAL: "an interface of this name exists that is no TUN of one queue",
    }
    try:
        answer = fcntl.ioctl(fd, lib.TUNSETIFF, request)
    except OSError as error:
        raise _refusal(error, name or "tun", hints.get(error.errno or 0)) from None
    return _name_in(answer)


def _has_vnet(fd: int, name: str) -> bool:
    try:
        (features,) = struct.unpack("I", fcntl.ioctl(fd, lib.TUNGETFEATURES, bytes(4)))
    except OSError:
        features = 0
    if not features & IFF_VNET_HDR:
        _log.info("%s: the kernel has no offloads for a TUN", name)
    return bool(features & IFF_VNET_HDR)


def _set_offloads(fd: int, name: str, *, wanted: bool) -> frozenset[str] | None:
    """Ask for every offload that the kernel has, and say what it has not; or for none."""
    if not wanted:
        # Whoever had a persistent interface before may have left them set.
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, 0)
        return None
    for flags, given in OFFLOADS:
        try:
            fcntl.ioctl(fd, lib.TUNSETOFFLOAD, flags)
        except OSError as error:
            _log.info("%s: the kernel has no offload of %s: %s", name, given[-1], error)
        else:
            return frozenset(given)
    return frozenset()


def _identify(fd: int) -> tuple[str, int]:
    try:
        answer = fcntl.ioctl(fd, lib.TUNGETIFF, bytes(IFREQ_FLAGS.size))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise _refusal(error, f"fd {fd}", None) from None
        raise ValueError(f"fd {fd} is no TUN, or one without an interface: {error}") from None
    _, flags = IFREQ_FLAGS.unpack(answer)
    name = _name_in(answer)
    for wrong, what in (
        (not flags & IFF_TUN, "is a TAP; expected IFF_TUN"),
        (_has_packet_information(fd, name), "has packet information; expected IFF_NO_PI"),
    ):
        if wrong:
            raise ValueError(f"fd {fd} ({name}) {what}")
    return name, flags


def _has_packet_information(fd: int, name: str) -> bool:
    """Whether a TUN was attached without IFF_NO_PI, as far as this thread can see.

    TUNGETIFF does not tell: its IFF_NOFILTER is the same bit, and set. The interface itself does,
    but only to those who are in its network namespace.
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
    from pyroute2 import IPRoute  # noqa: PLC0415 - it doubles the time that netlog takes to import

    with IPRoute() as route:
        (link,) = route.link("get", ifname=name)
    return bool(link.get(("linkinfo", "data", "IFLA_TUN_PI")))


def _name_in(answer: bytes) -> str:
    return os.fsdecode(answer[:IFNAMSIZ].partition(b"\0")[0])


def _set_mtu(name: str, mtu: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, SIOCSIFMTU, IFREQ_MTU.pack(os.fsencode(name), mtu))
        except OSError as error:
            raise _refusal(error, name, f"setting the MTU to {mtu}") from None


def _refusal(error: OSError, what: str, hint: str | None) -> DeviceError:
    code = error.errno or 0
    text = os.strerror(code)
    return DeviceError(code, f"{text} ({hint})" if hint else text, what)
