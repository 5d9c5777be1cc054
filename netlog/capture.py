"""Turns capture files into the messages that a gateway would have written for their packets."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from netlog._closing import Closing
from netlog._native import check, ffi, lib
from netlog.display.frames import frame_kind
from netlog.errors import NetlogError
from netlog.messages.build import LeftOut, Message, iter_messages
from netlog.messages.classify import PrefixMap
from netlog.meter.meter import Meter
from netlog.meter.snapshot import Unattributed
from netlog.model.nodes import NodeSource
from netlog.model.routes import NetworkLike, RouterConfig, prefix_array

__all__ = ["LARGE_BYTES", "CaptureCounters", "CaptureError", "CaptureReader"]

LARGE_BYTES: int = lib.NETLOG_CAPTURE_LARGE
"""No link but the loopback interface has longer packets."""

CHUNK_BYTES = 1 << 19
"""Bytes per read. This needs few calls, and the second-level cache still holds the chunk and a part
of the table when the chunk is counted. Files are read, not mapped: counting from a mapping takes
twice as long, a mapped file that shrinks kills the process, and the same code reads pipes."""

MAX_FLOWS = 1 << 18
"""Connections per message. The reader emits a message as soon as three quarters are in use. One
call into the core adds at most NETLOG_CAPTURE_MAX_RECORDS, so the table never becomes full."""

_NS = 1_000_000_000

_FAULTS = {
    lib.NETLOG_FAULT_FORMAT: "neither pcap nor pcapng",
    lib.NETLOG_FAULT_PACKET: f"packet longer than {lib.NETLOG_MAX_CAPTURED_BYTES} bytes",
    lib.NETLOG_FAULT_BLOCK: "block with an impossible length",
    lib.NETLOG_FAULT_CONTENT: "content of a block is longer than the block",
    lib.NETLOG_FAULT_INTERFACE: "packet of an interface without a description",
    lib.NETLOG_FAULT_INTERFACES: f"more than {lib.NETLOG_MAX_INTERFACES} interfaces",
    lib.NETLOG_FAULT_ORDER: "section of pcapng with an unknown byte order mark",
    lib.NETLOG_FAULT_VERSION: "version of pcap or pcapng that netlog does not know",
}

_FORMATS = {
    b"\x1f\x8b": "gzip, which is to be unpacked first",
    b"\x28\xb5\x2f\xfd": "zstd, which is to be unpacked first",
    b"BZh": "bzip2, which is to be unpacked first",
    b"\xfd7zXZ": "xz, which is to be unpacked first",
    b"\x04\x22\x4d\x18": "lz4, which is to be unpacked first",
    b"PK\x03\x04": "zip, which is to be unpacked first",
    b"\xef\xbb\xbf": "text with a byte order mark",
    b"\xff\xfe": "text with a byte order mark",
    b"\xfe\xff": "text with a byte order mark",
    b"\xa1\xb2\xcd\xcd": "a variant of pcap that netlog does not know",
    b"\xa1\xe2\xcb\x12": "a variant of pcap that netlog does not know",
    b"\x12\xcb\xe2\xa1": "a variant of pcap that netlog does not know",
    b"snoop\0\0\0": "snoop",
    b"XCP\0": "NetXRay",
    b"GMBU": "Microsoft's Network Monitor",
    b"RTSS": "Microsoft's Network Monitor",
    b"TRSNIFF data": "a Sniffer's",
    b"{": "JSON, which netlog fmt reads",
    b"[": "JSON, which netlog fmt reads",
}
"""What else a file may be, by its first bytes."""


class CaptureError(NetlogError, ValueError):
    """A capture cannot be read further; the text names the file and the byte.

    The packets before that byte were counted.
    """


class ByteSource(Protocol):
    """The input of a capture: an unbuffered binary file."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read into `buffer`, and return the number of bytes; 0 at the end."""


@dataclass(slots=True)
class CaptureCounters:
    """What the reader has done with the frames so far, in frames.

    Attributes:
        packets: counted by the meter, with a connection or without one.
        malformed: of those, packets that are shorter than they announce; unattributed.
        no_version: of those, packets that are neither IPv4 nor IPv6; unattributed.
        large: of those, packets of more than 9216 bytes, as hosts with offloads have before they
            segment and after they join; each counted as one packet.
        snapped: IP packets whose headers were not captured as far as the ports; unattributed.
        not_ip: frames that are not IP according to their link layer (ARP, LLDP); left out.
        cut: frames without a whole link-layer header in the capture; left out.
        unknown_link: frames of a link type that netlog does not know; left out.
        late: packets that are older than the period in which they were counted.
        untimed: packets with an impossible time; counted in the period of the packet before.
        services: packets to the overlay's own services; left out when nodes are known.
        kinds: `not_ip` by what they are, in words.
        link_types: the numbers of the unknown link types, and their names.
    """

    packets: int = 0
    malformed: int = 0
    no_version: int = 0
    large: int = 0
    snapped: int = 0
    not_ip: int = 0
    cut: int = 0
    unknown_link: int = 0
    late: int = 0
    untimed: int = 0
    services: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    link_types: dict[int, str] = field(default_factory=dict)


class CaptureReader(Closing):
    """Turns captures into messages, in the order in which they are given.

    The first period begins with the first packet. All periods have the same length and tile. A
    period without packets has no message. A packet that is older than the current period counts in
    the current period. The bytes of a packet are its bytes on the wire from the IP header on, even
    if the capture kept less of it.

    Args:
        node_id: the node that reports.
        period_s: length of a period in seconds, above 0.
        local: prefixes of this node's side. A packet from one of them is tx; otherwise a packet to
            one of them is rx; every other packet is tx. Without prefixes, a cooked capture says
            which packets were outgoing, and packets of all other captures are tx.
        routes: the routes that classify connections.
        nodes: the nodes by address, asked at the end of each period; None: not known.
        exit_traffic: one of `EXIT_MODES`; None: the default of `iter_messages`.
        max_flows: connections per message, at least four times NETLOG_CAPTURE_MAX_RECORDS.

    Raises:
        ValueError: an argument is out of range, or a value is not a prefix.

    Thread safety: one thread at a time.
    """

    def __init__(  # noqa: PLR0913 - these are the keys of a gateway's configuration
        self,
        *,
        node_id: str,
        period_s: float = 5.0,
        local: tuple[NetworkLike, ...] = (),
        routes: RouterConfig | None = None,
        nodes: NodeSource | None = None,
        exit_traffic: str | None = None,
        max_flows: int = MAX_FLOWS,
    ) -> None:
        self._period_ns = round(period_s * _NS)
        if self._period_ns < 1:
            raise ValueError(f"period_s: expected more than 0, got {period_s}")
        if max_flows < 4 * lib.NETLOG_CAPTURE_MAX_RECORDS:
            least = 4 * lib.NETLOG_CAPTURE_MAX_RECORDS
            raise ValueError(f"max_flows: expected {least} or more, got {max_flows}")
        self._node_id = node_id
        self._routes = routes or RouterConfig()
        self._nodes = nodes
        self._exit_traffic = exit_traffic
        self._left_out = LeftOut()
        prefixes = prefix_array(local)
        prefixes["set"] = 1
        self._locals = PrefixMap(prefixes) if local else None
        self._meter = Meter(max_flows, max_endpoints=1, max_lanes=1)
        self._lane = self._meter.acquire_lane()
        self._step = ffi.new("struct netlog_capture_step *")
        self._counters = CaptureCounters()

    def read(self, source: ByteSource, name: str) -> Iterator[Message]:
        """Count a capture; yield the messages of the periods that ended in it.

        Args:
            source: the capture; read to its end and left open.
            name: the capture's name in errors.

        Raises:
            CaptureError: the capture is damaged, ends in the middle of a record, or cannot be
                read. Everything before that point is counted; its messages were yielded or will be.
            MemoryError: there is no memory for the interfaces of a pcapng file.
        """
        opened = ffi.new("struct netlog_capture **")
        handle = self._locals.handle if self._locals else ffi.NULL
        check(lib.netlog_capture_open(handle, opened), name)
        capture = ffi.gc(opened[0], lib.netlog_capture_close)
        try:
            window = _Window(source, name)
            while window.fill():
                yield from self._count(capture, window, name)
            if window.size or not window.offset:
                need = int(self._step.need) if window.size else 4
                raise CaptureError(
                    f"{name}: byte {window.offset}: truncated: expected {need} bytes, "
                    f"got {window.size}"
                )
        finally:
            ffi.release(capture)

    def finish(self) -> Iterator[Message]:
        """End the last period; the next capture begins a new one."""
        if not self._step.until_ns and self._step.untimed:
            self._begin(0)  # no packet had a time
        yield from self._emit()
        self._step.start_ns = self._step.until_ns = 0

    def counters(self) -> CaptureCounters:
        """What the reader has done with the frames so far."""
        counters, step = self._counters, self._step
        counters.packets = step.frames[lib.NETLOG_FRAME_PACKET]
        counters.snapped = step.frames[lib.NETLOG_FRAME_SNAPPED]
        counters.not_ip = step.frames[lib.NETLOG_FRAME_NOT_IP]
        counters.cut = step.frames[lib.NETLOG_FRAME_CUT]
        counters.unknown_link = step.frames[lib.NETLOG_FRAME_LINK]
        counters.late = step.late
        counters.untimed = step.untimed
        counters.large = step.large
        counters.services = self._left_out.service_packets
        counters.kinds, counters.link_types = {}, {}
        for kind in step.kinds:
            if not kind.frames:
                continue
            name = frame_kind(kind.space, kind.number)
            if kind.space == lib.NETLOG_SPACE_LINK:
                counters.link_types[kind.number] = name
            else:
                counters.kinds[name] = counters.kinds.get(name, 0) + kind.frames
        return counters

    def close(self) -> None:
        """Free the memory. A second call does nothing."""
        if self._lane is not None:
            self._meter.release_lane(self._lane)
            self._lane = None
        self._meter.close()
        if self._locals:
            self._locals.close()

    def _count(self, capture: Any, window: "_Window", name: str) -> Iterator[Message]:  # noqa: ANN401 - a pointer of the core
        """Count the complete records in the window."""
        step = self._step
        while True:
            step.data, step.bytes = window.data + window.start, window.size
            stop = lib.netlog_capture_count(capture, self._lane, step)
            window.take(step.consumed)
            if step.fault in _FAULTS:
                fault = _FAULTS[step.fault]
                if step.fault == lib.NETLOG_FAULT_FORMAT:
                    fault += window.format()
                raise CaptureError(f"{name}: byte {window.offset}: {fault}")
            check(stop, name)
            if stop == lib.NETLOG_CAPTURE_MORE:
                break
            if stop == lib.NETLOG_CAPTURE_PERIOD:
                yield from self._emit()
                self._begin(step.time_ns)
            elif self._meter.wait(0):
                yield from self._emit()
        if self._meter.wait(0):
            yield from self._emit()
        window.make_room(step.need)

    def _begin(self, time_ns: int) -> None:
        """Begin the period that contains a packet of this time."""
        step = self._step
        first = not step.until_ns
        start_ns = time_ns if first else time_ns - (time_ns - step.start_ns) % self._period_ns
        step.start_ns, step.until_ns = start_ns, start_ns + self._period_ns

    def _emit(self) -> Iterator[Message]:
        """The messages of everything that was counted since the last ones."""
        step = self._step
        if not step.until_ns:
            return
        rows = self._meter.extract()
        snapped = (
            step.snapped_packets[lib.NETLOG_TX],
            step.snapped_bytes[lib.NETLOG_TX],
            step.snapped_packets[lib.NETLOG_RX],
            step.snapped_bytes[lib.NETLOG_RX],
        )
        for direction in (lib.NETLOG_TX, lib.NETLOG_RX):
            step.snapped_packets[direction] = step.snapped_bytes[direction] = 0
        by_reason = self._meter.unattributed.by_reason
        for reason, counter in (("malformed", "malformed"), ("not_ip", "no_version")):
            tx, _, rx, _ = by_reason[reason]
            setattr(self._counters, counter, getattr(self._counters, counter) + tx + rx)
        unattributed = Unattributed(by_reason | {"snapped": snapped})
        if unattributed.packets:
            rows = np.concatenate((rows, unattributed.as_row()))
        # The table may have asked for this poll. It is empty now, so take back the request.
        self._meter.wait(0)
        yield from iter_messages(
            node_id=self._node_id,
            start=step.start_ns,
            end=step.until_ns - 1,
            tun=rows,
            sock=None,
            routes=self._routes,
            nodes=self._nodes,
            exit_traffic=self._exit_traffic,
            left_out=self._left_out,
        )


class _Window:
    """The part of a source that is in memory: `size` bytes of a buffer, from `start` on."""

    def __init__(self, source: ByteSource, name: str) -> None:
        self._source = source
        self._name = name
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self.data = ffi.from_buffer("uint8_t[]", self._buffer)
        self.start = self.size = 0
        self.offset = 0  # of the byte at `start`, in the source

    def fill(self) -> bool:
        """Read more bytes; False at the end of the source."""
        if self.start:
            left = bytes(self._buffer[self.start : self.start + self.size])
            self._buffer[: self.size] = left
            self.start = 0
        try:
            read = self._source.readinto(self._buffer[self.size :])
            if read is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except OSError as error:
            where = f"{self._name}: byte {self.offset + self.size}"
            raise CaptureError(f"{where}: {error.strerror}") from error
        self.size += read
        return read > 0

    def format(self) -> str:
        """What begins here, if it is known and no capture."""
        begin = bytes(self._buffer[self.start : self.start + min(self.size, 16)])
        return next(
            (f", but {what}" for magic, what in _FORMATS.items() if begin.startswith(magic)), ""
        )

    def take(self, count: int) -> None:
        """Remove the first `count` bytes from the window."""
        self.start += count
        self.size -= count
        self.offset += count

    def make_room(self, need: int) -> None:
        """Make room for a record of `need` bytes, which is at most NETLOG_MAX_BLOCK_BYTES."""
        if need > len(self._buffer):
            grown = memoryview(bytearray(max(need, 2 * len(self._buffer))))
            grown[: self.size] = self._buffer[self.start : self.start + self.size]
            self._buffer, self.start = grown, 0
            self.data = ffi.from_buffer("uint8_t[]", grown)
