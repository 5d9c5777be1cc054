"""A TUN whose packets have a virtio header in front: the kernel's side of the offload tests.

No netlog in it but the parser of the header: what crosses the descriptor is what the kernel made
or takes.
"""

import fcntl
import os
import select
import struct
from types import TracebackType
from typing import Self

from tests.support.namespace import Namespace
from tests.support.offloads import Super

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
CHECKSUM, TSO4, TSO6, USO4, USO6 = 1, 2, 4, 0x20, 0x40
ALL_OFFLOADS = CHECKSUM | TSO4 | TSO6 | USO4 | USO6


class RawTun:
    """An interface of a namespace, with or without offloads; up, with its addresses.

    Args:
        offloads: of TUNSETOFFLOAD; None: without IFF_VNET_HDR.
    """

    def __init__(
        self, namespace: Namespace, name: str, *addresses: str, offloads: int | None
    ) -> None:
        flags = IFF_TUN | IFF_NO_PI | (0 if offloads is None else IFF_VNET_HDR)
        self.vnet = offloads is not None
        with namespace.entered():
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        if offloads is not None:
            fcntl.ioctl(self.fd, TUNSETOFFLOAD, offloads)
        namespace.quiet(name)
        namespace.up(name, *addresses)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)

    def read(self, timeout_s: float = 20.0) -> Super | None:
        """Read what the kernel hands over next, or None after the time-out."""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return None
        data = os.read(self.fd, 70000)
        return Super.parse(data if self.vnet else bytes(10) + data)

    def write(self, packet: Super) -> None:
        """Hand a packet to the kernel."""
        os.write(self.fd, bytes(packet) if self.vnet else packet.packet)
