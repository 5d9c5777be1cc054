"""What the programs that are run under the preload library have in common: a TUN, and packets.

tun = Tun()				tun0, 100.64.0.1/24
tun.write(packet(20))		20 bytes of payload come out of the tunnel: a packet of 48
tun.incoming(20); tun.read()	the same the other way
"""

import fcntl
import os
import socket
import struct
import subprocess
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 1, 2, 0x1000, 0x4000
HEADER_BYTES = 28
"""IPv4 and UDP."""


def packet(payload_bytes: int, source: str = "100.64.0.9") -> bytes:
    """An IPv4 packet with a UDP datagram to nobody."""
    length = HEADER_BYTES + payload_bytes
    ends = socket.inet_aton(source) + socket.inet_aton("100.64.0.1")
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, 17, 0)
        + ends
        + struct.pack("!HHHH", 9, 9, length - 20, 0)
        + bytes(payload_bytes)
    )


class Tun:
    """An interface that is up, and a socket whose datagrams go into it."""

    def __init__(self, flags: int = IFF_TUN | IFF_NO_PI, name: str = "tun0") -> None:
        for which in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        commands = f"addr add 100.64.0.1/24 dev {name}", f"link set {name} up"
        for command in commands:
            subprocess.run(("ip", *command.split()), check=True)
        if flags & IFF_TAP:
            neighbour = f"neigh add 100.64.0.9 lladdr 02:00:00:00:00:09 dev {name}"
            subprocess.run(("ip", *neighbour.split()), check=True)
        self.user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def incoming(self, payload_bytes: int) -> None:
        """Let a packet be there to read."""
        self.user.sendto(bytes(payload_bytes), ("100.64.0.9", 9))

    def read(self) -> bytes:
        """Read it."""
        return os.read(self.fd, 4096)

    def write(self, data: bytes) -> int:
        """Write one."""
        return os.write(self.fd, data)
