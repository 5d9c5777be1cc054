"""The virtio header of a TUN that somebody else attached: how long it is, and its byte order.

Source: Linux include/uapi/linux/if_tun.h, drivers/net/tun_vnet.h.
"""

import fcntl
import struct
import sys
from dataclasses import dataclass

from netlog._native import lib

__all__ = ["VnetHeader", "vnet_header_of"]

KNOWN_BYTES = 10
"""struct virtio_net_hdr: what is used of it."""
MAX_BYTES = KNOWN_BYTES + int(lib.NETLOG_TUN_HEADER_MORE)


@dataclass(frozen=True, slots=True)
class VnetHeader:
    """What lies in front of every packet.

    Attributes:
        more_bytes: behind the ten that are known; 0 to NETLOG_TUN_HEADER_MORE.
        swapped: its fields are in the byte order that this machine does not have.
    """

    more_bytes: int
    swapped: bool


def vnet_header_of(fd: int) -> VnetHeader:
    """Ask the kernel about a TUN with IFF_VNET_HDR.

    Raises:
        ValueError: the header is longer than any that is known.
    """
    n_bytes = _asked(fd, lib.TUNGETVNETHDRSZ)
    if n_bytes is None:
        n_bytes = KNOWN_BYTES
    if not KNOWN_BYTES <= n_bytes <= MAX_BYTES:
        raise ValueError(
            f"fd {fd} has a virtio header of {n_bytes} bytes; "
            f"expected {KNOWN_BYTES} to {MAX_BYTES} (TUNSETVNETHDRSZ)"
        )
    # A kernel without one of the two does not have that order either.
    if _asked(fd, lib.TUNGETVNETLE):
        order = "little"
    elif _asked(fd, lib.TUNGETVNETBE):
        order = "big"
    else:
        order = sys.byteorder
    return VnetHeader(n_bytes - KNOWN_BYTES, order != sys.byteorder)


def _asked(fd: int, request: int) -> int | None:
    """An ioctl's answer, or None where the kernel does not know it."""
    try:
        (value,) = struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))
    except OSError:
        return None
    return int(value)
