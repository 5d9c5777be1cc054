"""`netlog watch` as a process of its own, for the tests."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from netlog import PacketBatch, TunDevice
from tests.support import ROOT
from tests.support.namespace import Namespace
from tests.support.runs import Running

WATCH = (sys.executable, "-W", "error", "-m", "netlog", "watch", "--poll-period", "0.2")


@contextlib.contextmanager
def watching(
    namespace: Namespace, folder: Path, *options: str, prefix: Sequence[str] = ()
) -> Iterator[Running]:
    """Run a watch, not necessarily to the point where it counts; whatever happens, end it.

    `prefix` is a command that becomes the watch.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = namespace.popen(
            *prefix,
            *WATCH,
            *options,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    try:
        yield Running(process, namespace, folder)
    finally:
        process.kill()
        process.wait()


def counts(running: Running, name: str, times: int = 1) -> bool:
    """Whether a tap has begun to count so often; a process that has ended never will."""
    assert running.process.poll() is None, running.said
    return running.said.count(f"{name}: counting") >= times


def drain(tun: TunDevice) -> None:
    """Read what waits in a TUN's queue, so that the kernel counts it."""
    batch = PacketBatch(max_packets=64)
    while tun.read_batch(batch):
        pass


def udp4(payload: bytes) -> bytes:
    """An IPv4 packet from 100.64.0.2 to 100.64.0.1."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    head += socket.inet_aton("100.64.0.2") + socket.inet_aton("100.64.0.1")
    folded = sum(struct.unpack("!10H", head))
    folded = (folded & 0xFFFF) + (folded >> 16)
    head = head[:10] + struct.pack("!H", ~folded & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHH", 9, 9, 8 + len(payload), 0) + payload


def tun_of(namespace: Namespace, *, up: bool = True) -> TunDevice:
    """A TUN with addresses."""
    with namespace.entered():
        tun = TunDevice.open("tun0")
    namespace.quiet("tun0")
    if up:
        namespace.up("tun0", "100.64.0.1/24", "fd7a:115c:a1e0::1/64")
    return tun
