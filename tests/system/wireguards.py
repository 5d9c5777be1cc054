"""wireguard-go in two namespaces, for the tests.

namespace "left"                                   namespace "right"
100.64.0.1  TUN |  wireguard-go                    wireguard-go | TUN  100.64.0.2
lan0 192.0.2.1:51820  ----------- veth -----------  lan0 192.0.2.2:51820
"""

import contextlib
import fcntl
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.gateways import joined
from tests.support.namespace import IFF_TUN_NO_PI, TUNSETIFF, Namespace, wait_for

PORT = 51820
IFF_TUN = 0x0001
SOCKETS = Path("/var/run/wireguard")


@dataclass
class WireGuard:
    """One of the two."""

    number: int
    namespace: Namespace
    process: subprocess.Popen[bytes]
    interface: str
    public_key: str

    @property
    def overlay(self) -> str:
        """Its address in the tunnel."""
        return f"100.64.0.{self.number}"

    def knows(self, peer: "WireGuard") -> None:
        """Be told where a peer is, and set up."""
        arguments = f"peer {peer.public_key} endpoint 192.0.2.{peer.number}:{PORT}"
        allowed = f"allowed-ips {peer.overlay}/32,10.9.{peer.number}.0/24"
        self.set(f"{arguments} {allowed}")
        self.namespace.quiet(self.interface)
        self.namespace.up(self.interface, f"{self.overlay}/24")

    def set(self, arguments: str) -> None:
        """Run `wg set` on it."""
        self.namespace.run("wg", "set", self.interface, *arguments.split())


def tun_flags() -> int:
    """Return the flags that wireguard-go assumes of a TUN that it is given."""
    shown = subprocess.run(
        ["wireguard-go", "--version"], capture_output=True, text=True, check=True
    ).stdout
    year = re.search(r"v0\.0\.(\d{4})", shown)
    assert year, shown
    return IFF_TUN_NO_PI if int(year[1]) > 2022 else IFF_TUN


def listens(path: Path) -> bool:
    """Whether somebody listens at a unix socket, which is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as asking, contextlib.suppress(OSError):
        asking.connect(str(path))
        return True
    return False


@contextlib.contextmanager
def plain_tun(namespace: Namespace, interface: str) -> Iterator[int]:
    """Make a TUN without super-packets, and return its descriptor.

    The TUN that wireguard-go itself makes has them from 2023 on. The kernel counts each as one.
    """
    with namespace.entered():
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", interface.encode(), tun_flags()))
    try:
        yield tun
    finally:
        os.close(tun)


@contextlib.contextmanager
def wireguard(number: int, namespace: Namespace, folder: Path) -> Iterator[WireGuard]:
    """Run one, without peers and down; its interface has a name of its own on this machine."""
    interface = f"nl{os.getpid() % 1_000_000}w{number}"
    key = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
    public = subprocess.run(["wg", "pubkey"], input=key, capture_output=True, check=True).stdout
    path = folder / f"key-{number}"
    path.write_bytes(key)
    with (
        plain_tun(namespace, interface) as tun,
        (folder / f"wireguard-{number}").open("wb") as said,
    ):
        process = namespace.popen(
            "wireguard-go",
            "-f",
            interface,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ
            | {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "WG_TUN_FD": str(tun)},
            pass_fds=(tun,),
        )
    try:
        wait_for(partial(listens, SOCKETS / f"{interface}.sock"), "it listens")
        made = WireGuard(number, namespace, process, interface, public.decode().strip())
        made.set(f"listen-port {PORT} private-key {path}")
        yield made
    finally:
        process.terminate()
        process.wait(20)
        (SOCKETS / f"{interface}.sock").unlink(missing_ok=True)


@contextlib.contextmanager
def tunnel(folder: Path) -> Iterator[tuple[WireGuard, WireGuard]]:
    """Both, not yet up: `knows` does that."""
    with (
        joined() as (left, right),
        wireguard(1, left, folder) as one,
        wireguard(2, right, folder) as two,
    ):
        yield one, two
