"""The UDP socket: datagrams, counted by remote endpoint as they cross its descriptor."""

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from typing import Self

from netlog._native import ffi, lib
from netlog.devices.batch import PacketBatch
from netlog.devices.counted import CountedDevice
from netlog.errors import DeviceError
from netlog.meter.meter import Meter
from netlog.model.addresses import IPAddress, check_port, join_endpoint, parse_address
from netlog.model.endpoints import unpack_endpoint
from netlog.model.flows import FlowArray

__all__ = ["SockDevice"]

_log = logging.getLogger("netlog")

# The size that netlog requests for each buffer: enough for a burst of 2800 full-sized datagrams, or
# for 4 ms at 1 GB/s. The kernel grants at most net.core.rmem_max and wmem_max, and reports twice
# what it grants.
BUFFER_BYTES = 4 << 20

# From linux/udp.h; Python has no names for them.
UDP_SEGMENT = 103
UDP_GRO = 104
SO_REUSEPORT = socket.SO_REUSEPORT


class SockDevice(CountedDevice):
    """A UDP socket's descriptor: sending is tx, receiving is rx.

    Make one with `bind` or `from_socket`. If a remote sends back an ICMP error (port unreachable),
    no call fails.

    Thread safety: every method may be called from any thread; a PacketBatch belongs to one.

    Source: udp(7), recvmmsg(2), sendmmsg(2).
    """

    _set_statistics = staticmethod(lib.netlog_sock_set_statistics)

    def __init__(
        self,
        sock: socket.socket,
        meter: Meter | None,
        offloads: frozenset[str] = frozenset(),
    ) -> None:
        name = sock.getsockname()
        self._address: tuple[str, int] = (name[0], name[1])
        self._receive_buffer_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._send_buffer_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._dual_stack = (
            sock.family == socket.AF_INET6
            and name[0] == "::"
            and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        )
        self._family = sock.family
        handle = ffi.new("struct netlog_sock *", {"fd": sock.fileno(), "family": int(sock.family)})
        handle.segments = "segment" in offloads
        if "gro" in offloads:
            handle.gro = True
            handle.rest = self._rest = ffi.new("struct netlog_sock_rest *")
        super().__init__(sock.fileno(), f"udp {join_endpoint(*self._address)}", meter, handle)
        sock.detach()

    @classmethod
    def bind(
        cls, address: str, port: int, *, meter: Meter | None = None, offload: bool = False
    ) -> Self:
        """Open a UDP socket on an address of this machine.

        Args:
            address: IPv4 or IPv6; "0.0.0.0" is all of IPv4, "::" all of IPv6 and IPv4.
            port: 1 to 65535; 0: the kernel chooses one, which `address` then has.
            meter: counts the device's datagrams; None: a meter of its own.
            offload: use UDP_SEGMENT and UDP_GRO if the kernel has them; see `offloads`. Datagrams
                are still counted one by one, and `recv_batch` still returns them one by one.

        Raises:
            ValueError: the address is not an IP address, or the port is out of range.
            DeviceError: EADDRINUSE: the port is taken; EADDRNOTAVAIL: this machine does not have
                the address; EACCES: a port below 1024 needs privileges.
        """
        (device,) = cls.bind_group(address, port, 1, meter=meter, offload=offload)
        return device

    @classmethod
    def bind_group(
        cls,
        address: str,
        port: int,
        count: int,
        *,
        meter: Meter | None = None,
        offload: bool = False,
    ) -> list[Self]:
        """Open several UDP sockets on one address and port, for as many threads (SO_REUSEPORT).

        The kernel hands each datagram to one of the sockets, and all datagrams of a remote to the
        same one, so all of them must be read. No other socket can join the port of a group of one.
        Other processes of the same user can join the port of a larger group, but none can be there
        before it. If the kernel has no SO_REUSEPORT, netlog logs that and opens one socket.

        Args:
            address: as for `bind`.
            port: as for `bind`; 0: the kernel chooses one for all.
            count: number of sockets, 1 to 256.
            meter: shared by all devices; None: each has a meter of its own.
            offload: as for `bind`.

        Raises:
            ValueError: as `bind`, or the count is out of range.
            DeviceError: as `bind`.
        """
        parsed = parse_address(address)
        check_port(port)
        if not 1 <= count <= lib.NETLOG_MAX_QUEUES:
            raise ValueError(f"count: expected 1 to {lib.NETLOG_MAX_QUEUES} sockets, got {count}")
        with contextlib.ExitStack() as sockets, contextlib.ExitStack() as devices:
            try:
                made: list[Self] = []
                for sock in _bind_group(sockets, parsed, port, count):
                    offloads = _offloads_of(sock) if offload else frozenset()
                    made.append(cls(sock, meter, offloads))
                    devices.callback(made[-1].close)
            except socket.gaierror as error:
                raise ValueError(f"{address!r}: {error.strerror}") from None
            except OSError as error:
                code = error.errno or 0
                what = f"udp {join_endpoint(str(parsed), port)}"
                raise DeviceError(code, os.strerror(code), what) from None
            devices.pop_all()
            return made

    @classmethod
    def from_socket(
        cls, sock: socket.socket, *, meter: Meter | None = None, offload: bool = False
    ) -> Self:
        """Use a UDP socket that the caller made.

        The device works on a duplicate: the caller closes `sock`, and its options and buffers stay
        as they are. It may be connected.

        Args:
            sock: AF_INET or AF_INET6, SOCK_DGRAM, UDP. It may have UDP_GRO, which must then stay as
                it is: datagrams that come as one are counted and returned one by one. It must not
                have UDP_SEGMENT, with which the kernel would cut up every datagram.
            meter: as for `bind`.
            offload: let a relay send several datagrams as one, if the kernel has UDP_SEGMENT.
                netlog requests this with each call and sets no option.

        Raises:
            ValueError: the socket is of another kind, or has UDP_SEGMENT set.
            DeviceError: the socket is closed (EBADF).
        """
        if sock.fileno() < 0:
            raise DeviceError(errno.EBADF, os.strerror(errno.EBADF), "socket")
        protocol = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or protocol != socket.IPPROTO_UDP:
            raise ValueError(f"expected a UDP socket over IPv4 or IPv6, got {sock!r}")
        gro, segment_bytes = _option(sock, UDP_GRO), _option(sock, UDP_SEGMENT)
        if segment_bytes:
            raise ValueError(
                f"{sock!r} has UDP_SEGMENT set: the kernel would cut every datagram into pieces of "
                f"{segment_bytes} bytes; set it to 0"
            )
        has = {"gro": bool(gro), "segment": offload and segment_bytes is not None}
        with contextlib.closing(sock.dup()) as own:
            return cls(own, meter, frozenset(name for name, there in has.items() if there))

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that the socket is bound to."""
        return self._address

    @property
    def receive_buffer_bytes(self) -> int:
        """The receive buffer's size as the kernel accounts it: twice what datagrams may fill."""
        return self._receive_buffer_bytes

    @property
    def send_buffer_bytes(self) -> int:
        """The socket's send buffer as the kernel accounts it."""
        return self._send_buffer_bytes

    @property
    def offloads(self) -> frozenset[str]:
        """The offloads in use: "segment" sends several datagrams as one, "gro" receives such.

        If the kernel fails a send because of "segment", the device stops using it.
        """
        with self.gate:
            found = {"segment": lib.netlog_sock_segments(self._handle), "gro": self._handle.gro}
            return frozenset(name for name, has in found.items() if has)

    def reaches(self, version: int) -> bool:
        """Whether the socket can send to IPv4 (4) or IPv6 (6) remotes."""
        if self._family == socket.AF_INET:
            return version == 4  # noqa: PLR2004 - the IP version
        return version == 6 or self._dual_stack  # noqa: PLR2004 - as above

    def recv_batch(self, batch: PacketBatch, timeout_s: float | None = 0.0) -> int:
        """Receive datagrams into `batch`, from slot 0 on, until it is full or there are no more.

        Args:
            batch: its slots, lengths and endpoints are overwritten.
            timeout_s: how long to wait for the first datagram, in seconds; 0: not at all, None:
                without limit.

        Returns:
            How many datagrams, also in `batch.count`; 0 after the timeout.

        Raises:
            StateError: the device is closed, or its meter has no lane left.
        """
        return self._read_batch(lib.netlog_sock_recv, batch, timeout_s)

    def recvfrom(self, timeout_s: float | None = None) -> tuple[bytes, tuple[str, int]]:
        """Receive one datagram.

        Args:
            timeout_s: how long to wait for it, in seconds; 0: not at all, None: without limit.

        Returns:
            The payload, and the remote's (host, port); an IPv4-mapped host as IPv4.

        Raises:
            TimeoutError: no datagram came in time.
            StateError: as `recv_batch`.
        """
        batch = PacketBatch(1)
        if not self.recv_batch(batch, timeout_s):
            raise TimeoutError(f"{self._what}: no datagram within {timeout_s} s")
        return bytes(batch.packet(0)), unpack_endpoint(batch.endpoints[0].tobytes())

    def send_batch(self, batch: PacketBatch, count: int) -> int:
        """Send the datagrams in the first `count` slots to their endpoints, without waiting.

        A refused datagram does not stop the rest; a full send queue does.

        Returns:
            How many the kernel accepted; only these are counted. `refusals` counts the others.

        Raises:
            ValueError: there are fewer slots, or a length is greater than `packet_bytes`; nothing
                was sent.
            StateError: the device is closed, or its meter has no lane left.
        """
        slots = batch.outgoing(count, least_bytes=0)
        return int(self._write_batch(lib.netlog_sock_send, slots).done_packets)

    def sendto(self, payload: bytes, remote: tuple[str, int]) -> None:
        """Send one datagram, without waiting.

        Args:
            payload: 0 to 65507 bytes over IPv4, 65527 over IPv6.
            remote: (address, port).

        Raises:
            ValueError: the address is not an IP address, or the payload has more than 65535 bytes.
            StateError: as `send_batch`.
            DeviceError: the kernel refused it: EMSGSIZE, ENETUNREACH, or EAGAIN if its queue is
                full.
        """
        check_port(remote[1])
        batch = PacketBatch(1, max(1, len(payload)))
        batch.put(0, payload, remote)
        outcome = self._write_batch(lib.netlog_sock_send, batch.outgoing(1, least_bytes=0))
        if outcome.error:
            raise DeviceError(outcome.error, os.strerror(outcome.error), self._what)

    def _rows(self) -> FlowArray:
        return self.meter.snapshot().sock_rows()

    def _clear_errors(self) -> None:
        lib.netlog_sock_clear_errors(self._handle)


def _bind_group(
    stack: contextlib.ExitStack, address: IPAddress, port: int, count: int
) -> list[socket.socket]:
    first = _bind(stack, address, port, shared=False)
    if count == 1:
        return [first]
    try:
        # Set only after binding, so that binding fails if another socket already has the port, even
        # one that would share it.
        first.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    except OSError as error:
        _log.info("udp: the kernel has no SO_REUSEPORT: %s", error)
        return [first]
    port = first.getsockname()[1]
    return [first, *(_bind(stack, address, port, shared=True) for _ in range(count - 1))]


def _bind(
    stack: contextlib.ExitStack, address: IPAddress, port: int, *, shared: bool
) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, ipaddress.IPv6Address) else socket.AF_INET
    sock = stack.enter_context(contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)))
    if str(address) == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
    # getaddrinfo() turns an address that names an interface ("fe80::1%eth0") into a socket name.
    ((*_, name),) = socket.getaddrinfo(
        str(address), port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
    )
    sock.bind(name)
    return sock


def _option(sock: socket.socket, option: int) -> int | None:
    """Return a socket option's value, or None if the kernel does not have the option."""
    try:
        return sock.getsockopt(socket.IPPROTO_UDP, option)
    except OSError:
        return None


def _offloads_of(sock: socket.socket) -> frozenset[str]:
    """Set UDP_GRO, and check for UDP_SEGMENT; log what the kernel does not have."""
    found = set()
    for name, option, value in (("gro", UDP_GRO, 1), ("segment", UDP_SEGMENT, 0)):
        try:
            sock.setsockopt(socket.IPPROTO_UDP, option, value)
        except OSError as error:
            _log.info("udp: the kernel has no UDP_%s: %s", name.upper(), error)
        else:
            found.add(name)
    return frozenset(found)
