"""A watch takes at most a third of the CPU a packet of the flow tools that Debian has.

The interface is live, in a namespace that this bench makes; it is a TAP, because not all tools take
a TUN. Each tool gets the same packets at the same rate, in turns. Measured is what the tool's
threads used meanwhile, by the scheduler's own accounting, for each packet that was sent. netlog
must have counted every packet. The others, which may drop some or still have them in a buffer, must
have seen half. The kernel's part of tapping is charged to the sender, for all of them alike.
"""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import BENCH
from bench.harness import Budget, Turns, tool_or_skip
from bench.peers import rights_or_skip
from tests.support.namespace import TUNSETIFF, Namespace

PACKETS = 300_000
PER_SECOND = 100_000
FLOWS = 4096
PAYLOAD_BYTES = 200
ROUNDS = 2
LIMIT_S = 20.0
IFF_TAP_NO_PI = 0x1002
PMACCTD = """
plugins: memory
aggregate: src_host, dst_host, src_port, dst_port, proto
imt_path: {path}
plugin_pipe_size: 67108864
plugin_buffer_size: 65536
"""
"""Large buffers between pmacctd's processes: by default most packets do not reach its table."""
BUDGET = Budget("<=", 0.333)


def frame(flow: int, link: bytes) -> bytes:
    """Return an IPv4 packet of a flow that the host drops early: it is for another address."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + PAYLOAD_BYTES, 0, 0, 64, 17, 0)
    head += socket.inet_aton("100.64.0.2") + socket.inet_aton("203.0.113.9")
    folded = sum(struct.unpack("!10H", head))
    folded = (folded & 0xFFFF) + (folded >> 16)
    head = head[:10] + struct.pack("!H", ~folded & 0xFFFF) + head[12:]
    head = link + bytes(6) + b"\x08\x00" + head
    return head + struct.pack("!HHHH", 1024 + flow, 9, 8 + PAYLOAD_BYTES, 0) + bytes(PAYLOAD_BYTES)


class Live:
    """The interface, and the tool that runs beside it."""

    def __init__(self, namespace: Namespace, fd: int, folder: Path) -> None:
        self._namespace = namespace
        self._fd = fd
        self._folder = folder
        link = namespace.ip("-br link show dev tap0").split()[2]
        to = bytes.fromhex(link.replace(":", ""))
        self._frames = [frame(flow, to) for flow in range(FLOWS)]

    def cost_ns(
        self, command: list[str], seen: Callable[[str], bool], ask: Sequence[str] = ()
    ) -> float:
        """Return a tool's CPU ns a packet; `seen` checks its output and its answer to `ask`."""
        said = self._folder / "said"
        before = self._taps()
        with said.open("wb") as out:
            tool = self._namespace.popen(
                *command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | {"PYTHONPATH": str(BENCH.parent)},
            )
        try:
            _until(lambda: self._taps() > before, said)
            _until(lambda: b"every" in said.read_bytes() or "netlog" not in command, said)
            used_ns = _cpu_ns(tool.pid)
            self._send()
            used_ns = _settled_ns(tool.pid) - used_ns
            told = self._namespace.run(*ask) if ask else ""
            tool.send_signal(signal.SIGTERM)
            tool.wait(60)
        finally:
            tool.kill()
            tool.wait()
        told += said.read_text()
        assert seen(told), told[-2000:]
        return used_ns / PACKETS

    def _taps(self) -> int:
        with self._namespace.entered():
            return len(Path("/proc/thread-self/net/packet").read_text().splitlines())

    def _send(self) -> None:
        batch = PER_SECOND // 1000
        begun_s = time.monotonic()
        for number in range(0, PACKETS, batch):
            for i in range(number, number + batch):
                os.write(self._fd, self._frames[i % FLOWS])
            late_s = time.monotonic() - begun_s - (number + batch) / PER_SECOND
            if late_s < 0:
                time.sleep(-late_s)


def _until(condition: Callable[[], bool], said: Path) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, said.read_text()[-2000:]
        time.sleep(0.01)


def _cpu_ns(pid: int) -> int:
    """Return how long the threads of a process have run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _settled_ns(pid: int) -> int:
    """Return the same once the tool has read what was buffered."""
    time.sleep(1.5)
    return _cpu_ns(pid)


def of_netlog(text: str) -> bool:
    """Return whether every packet was counted, and none dropped."""
    return f"tun tap0: {PACKETS} frames counted, 0 dropped by the kernel" in text


def most(pattern: str) -> Callable[[str], bool]:
    """Return a check that the numbers which the pattern finds are more than half of the packets."""
    return lambda text: sum(map(int, re.findall(pattern, text))) > PACKETS // 2


@pytest.fixture(name="live", scope="module")
def _live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    rights_or_skip()
    with Namespace() as namespace:
        with namespace.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP_NO_PI))
        namespace.quiet("tap0")
        namespace.up("tap0", "100.64.0.1/24")
        yield Live(namespace, fd, tmp_path_factory.mktemp("watch"))
        os.close(fd)


@pytest.mark.parametrize("tool", ["softflowd", "nfpcapd", "pmacctd"])
def test_watch(benchmark: Any, live: Live, tmp_path: Path, tool: str) -> None:  # noqa: ANN401
    """A third of each tool's CPU, with every packet counted."""
    program = tool_or_skip(tool)
    control = str(tmp_path / "control")
    settings = tmp_path / "pmacctd.conf"
    settings.write_text(PMACCTD.format(path=tmp_path / "pipe"))
    theirs: dict[str, list[str]] = {
        "softflowd": [
            *(program, "-i", "tap0", "-d", "-m", str(2 * FLOWS)),
            *("-p", str(tmp_path / "pid"), "-c", control),
        ],
        "nfpcapd": [program, "-i", "tap0", "-w", str(tmp_path), "-s", "128"],
        "pmacctd": [program, "-i", "tap0", "-f", str(settings)],
    }
    seen = {
        "softflowd": most(r"Packets processed: (\d+)"),
        "nfpcapd": most(r"Total: Processed: (\d+)"),
        "pmacctd": most(r"received_packets=(\d+)"),
    }
    ask = ("softflowctl", "-c", control, "statistics") if tool == "softflowd" else ()
    ours = [sys.executable, "-m", "netlog", "watch", "--tun", "tap0", "--output", "/dev/null"]
    Turns(
        benchmark,
        measured=lambda: live.cost_ns(ours, of_netlog),
        beside=lambda: live.cost_ns(theirs[tool], seen[tool], ask),
    ).row(
        f"watch a live TAP, {PER_SECOND // 1000} k packets a second, {FLOWS} connections",
        tool,
        BUDGET,
        unit="CPU ns",
        rounds=ROUNDS,
    )
