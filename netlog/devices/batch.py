"""Packets in reused buffers, for reading and writing by devices."""

from typing import Any

import numpy as np
import numpy.typing as npt

from netlog._native import ffi, lib
from netlog.model.addresses import parse_address
from netlog.model.endpoints import ENDPOINT_DTYPE, pack_endpoint

__all__ = ["PacketBatch"]

LINE_BYTES = 64
PAGE_BYTES = 4096


class PacketBatch:
    """Slots of equal size that a device reads packets into, or writes them from.

    Args:
        max_packets: number of slots, 1 or more. Devices move at most 64 packets at a time, so 64 is
            the best choice.
        packet_bytes: the longest packet that a slot holds, 1 to 65535; a slot's pages are touched
            only as packets fill them. A TUN cuts longer packets without a notice, so choose at
            least the interface's MTU; a socket reports them, see `lengths`.

    Attributes:
        data: uint8, shape (max_packets, slot_bytes): packet i begins at `data[i, 0]`.
        lengths: uint32, shape (max_packets,): bytes of each packet. After a receive, a length
            greater than `packet_bytes` means that the datagram was longer than its slot, which then
            holds its beginning.
        endpoints: ENDPOINT_DTYPE, shape (max_packets,): the datagrams' remote ends.
        count: how many packets the last read put in.

    Raises:
        ValueError: an argument is out of range.

    Thread safety: one thread at a time uses a batch.
    """

    def __init__(self, max_packets: int = 64, packet_bytes: int = 65535) -> None:
        if max_packets < 1:
            raise ValueError(f"max_packets: expected 1 or more, got {max_packets}")
        if not 1 <= packet_bytes <= lib.NETLOG_MAX_PACKET_BYTES:
            most = lib.NETLOG_MAX_PACKET_BYTES
            raise ValueError(f"packet_bytes: expected 1 to {most}, got {packet_bytes}")
        slot_bytes = -(-packet_bytes // LINE_BYTES) * LINE_BYTES
        if slot_bytes % PAGE_BYTES == 0:
            # If slots began at multiples of the page size, all packets' headers would compete for
            # the same few sets of the L1 cache.
            slot_bytes += LINE_BYTES
        self.packet_bytes = packet_bytes
        self.data: npt.NDArray[np.uint8] = np.empty((max_packets, slot_bytes), np.uint8)
        self.lengths: npt.NDArray[np.uint32] = np.zeros(max_packets, np.uint32)
        self.endpoints: npt.NDArray[np.void] = np.zeros(max_packets, ENDPOINT_DTYPE)
        self.count = 0
        self._native = ffi.new("struct netlog_batch *")
        self._native.data = ffi.cast("uint8_t *", self.data.ctypes.data)
        self._native.lengths = ffi.cast("uint32_t *", self.lengths.ctypes.data)
        self._native.endpoints = ffi.cast("struct netlog_endpoint *", self.endpoints.ctypes.data)
        self._native.stride = slot_bytes
        self._native.capacity = packet_bytes

    def __len__(self) -> int:
        return len(self.lengths)

    def packet(self, slot: int) -> memoryview:
        """Return the packet in a slot, without a copy. Valid until the slot is used again."""
        length = min(int(self.lengths[slot]), self.packet_bytes)
        return self.data[slot, :length].data

    def put(self, slot: int, packet: bytes, remote: tuple[str, int] | None = None) -> None:
        """Copy a packet into a slot, and its remote (address, port) if it goes to a socket.

        Raises:
            ValueError: the packet is longer than `packet_bytes`, or the address is invalid.
            IndexError: there is no such slot.
        """
        if len(packet) > self.packet_bytes:
            raise ValueError(f"a packet of {len(packet)} bytes does not fit in {self.packet_bytes}")
        if remote is not None:
            row = pack_endpoint(parse_address(remote[0]), remote[1])
            self.endpoints[slot] = np.frombuffer(row, ENDPOINT_DTYPE)[0]
        self.data[slot, : len(packet)] = np.frombuffer(packet, np.uint8)
        self.lengths[slot] = len(packet)

    def slots(self, count: int) -> Any:  # noqa: ANN401 - cffi's pointers have no type of their own
        """Describe the first `count` slots to the core, as a `struct netlog_batch *`.

        The pointer is valid while this object exists, and until the next call.
        """
        self._native.n = count
        return self._native

    def outgoing(self, count: int, least_bytes: int) -> Any:  # noqa: ANN401 - as above
        """Describe the first `count` slots for writing, each with at least `least_bytes`.

        Raises:
            ValueError: there are fewer slots, or a length is out of range.
        """
        if not 0 <= count <= len(self.lengths):
            raise ValueError(f"count: expected 0 to {len(self.lengths)}, got {count}")
        lengths = self.lengths[:count]
        wrong = np.flatnonzero((lengths < least_bytes) | (lengths > self.packet_bytes))
        if len(wrong):
            slot = int(wrong[0])
            raise ValueError(
                f"lengths[{slot}]: expected {least_bytes} to {self.packet_bytes} bytes, "
                f"got {lengths[slot]}"
            )
        return self.slots(count)
