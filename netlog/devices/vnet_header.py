"""The virtio header of a TUN that another program attached: its length and its byte order.

Source: Linux include/uapi/linux/if_tun.h, drivers/net/tun_vnet.h.
"""

import fcntl
import struct
import sys
from dataclasses import dataclass

from netlog._native import lib

__all__ = ["VnetHeader", "vnet_header_of"]

KNOWN_BYTES = 10
"""The part of the header that netlog uses: struct virtio_net_hdr."""
MAX_BYTES = KNOWN_BYTES + int(lib.NETLOG_TUN_HEADER_MORE)


@dataclass(frozen=True, slots=True)
class VnetHeader:
    """The header in front of every packet.

    Attributes:
        more_bytes: after the ten known bytes; 0 to NETLOG_TUN_HEADER_MORE.
        swapped: whether its fields are not in this machine's byte order.
    """

    more_bytes: int
    swapped: bool


def vnet_header_of(fd: int) -> VnetHeader:
    """Ask the kernel about a TUN with IFF_VNET_HDR.

    Raises:
        ValueError: the header is longer than any that netlog knows.
    """
    n_bytes = _asked(fd, lib.TUNGETVNETHDRSZ)
    if n_bytes is None:
        n_bytes = KNOWN_BYTES
    if not KNOWN_BYTES <= n_bytes <= MAX_BYTES:
        raise ValueError(
            f"fd {fd} has a virtio header of {n_bytes} bytes; "
            f"expected {KNOWN_BYTES} to {MAX_BYTES} (TUNSETVNETHDRSZ)"
        )
    # A kernel without one of these ioctls does not have that byte order either.
    if _asked(fd, lib.TUNGETVNETLE):
        order = "little"
    elif _asked(fd, lib.TUNGETVNETBE):
        order = "big"
    else:
        order = sys.byteorder
    return VnetHeader(n_bytes - KNOWN_BYTES, order != sys.byteorder)


def _asked(fd: int, request: int) -> int | None:
    """Return an ioctl's answer, or None if the kernel does not know it."""
    try:
        (value,) = struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))
    except OSError:
        return None
    return int(value)
