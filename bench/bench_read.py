"""Reading a capture is at least ten times faster than with the flow tools that Debian has.

All three read the same file of 5 M packets of 64 k connections, snapped to 64 bytes, as processes
of their own from start to end, and come to the same totals. The budget is for the same work: the
others write every connection once, so netlog gets one period for the whole capture. With its
default period it writes twelve times as many entries; that row is for information. What is compared
is CPU time (user and system): threads and a busy machine then make no difference in anybody's
favour.
"""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness import Budget, Turns, tool_or_skip
from bench.native import BENCH
from bench.packets import SEED

PACKETS = 5_000_000
CONNECTIONS = 65_536
SECONDS = 60
SNAP = 64
BLOCK = 500_000
ROUNDS = 3
TIMEOUT_S = 300
BUDGET = Budget(">=", 10)
WHOLE_S, DEFAULT_S = 300, 5  # the first is nfpcapd's own limit for a flow

RECORD = np.dtype(
    [
        *(("seconds", "<u4"), ("microseconds", "<u4"), ("captured", "<u4"), ("length", "<u4")),
        *(("ethernet", "V12"), ("type", ">u2"), ("head", "u1"), ("tos", "u1"), ("total", ">u2")),
        *(("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"), ("proto", "u1"), ("sum", ">u2")),
        *(("src", ">u4"), ("dst", ">u4"), ("src_port", ">u2"), ("dst_port", ">u2")),
        *(("udp_length", ">u2"), ("udp_sum", ">u2"), ("ack", ">u4"), ("offset_flags", ">u2")),
        ("rest", "V16"),
    ]
)

Totals = tuple[int, int]


def records(random: np.random.Generator, first: int, count: int) -> np.ndarray[Any, Any]:
    """Packets first..first+count of the capture: TCP and UDP by turns, 60 to 1499 bytes of IP."""
    rows = np.zeros(count, RECORD)
    moment = np.arange(first, first + count, dtype=np.uint64) * SECONDS * 10**6 // PACKETS
    connection = random.integers(0, CONNECTIONS, count, dtype=np.uint32)
    total = random.integers(60, 1500, count)
    udp = connection % 2 == 1
    rows["seconds"], rows["microseconds"] = 1_700_000_000 + moment // 10**6, moment % 10**6
    rows["captured"], rows["length"] = SNAP, total + 14
    rows["type"], rows["head"], rows["total"], rows["ttl"] = 0x0800, 0x45, total, 64
    rows["proto"] = np.where(udp, 17, 6)
    rows["src"], rows["dst"] = 0x0A000000 + (connection >> 4), 0xC0A80000 + (connection & 15)
    rows["src_port"], rows["dst_port"] = 1024 + connection % 50_000, 443
    rows["udp_length"] = np.where(udp, total - 20, 1)
    rows["offset_flags"] = np.where(udp, 0, 0x5010)
    return rows


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Totals]]:
    """The file, and its packets and bytes; it is gone afterwards."""
    assert RECORD.itemsize == 16 + SNAP
    path = tmp_path_factory.mktemp("read") / "bench.pcap"
    random = np.random.default_rng(SEED)
    n_bytes = 0
    header = np.array([0xA1B2C3D4, 4 << 16 | 2, 0, 0, SNAP, 1], "<u4")
    with path.open("wb") as file:
        file.write(header.tobytes())
        for first in range(0, PACKETS, BLOCK):
            rows = records(random, first, BLOCK)
            n_bytes += int(rows["total"].astype(np.int64).sum())
            file.write(rows.tobytes())
    yield path, (PACKETS, n_bytes)
    path.unlink()


def run(command: list[str], expected: Totals, totals: Callable[[str], Totals]) -> float:
    """Run a tool over the capture; CPU seconds. Its totals must be the capture's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        cwd=BENCH.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-1000:]
    assert totals(done.stdout) == expected
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_netlog(text: str) -> Totals:
    """The sum over all messages."""
    entries = [entry for line in text.splitlines() for entry in json.loads(line)["exitTraffic"]]
    assert len({(entry["src"], entry["dst"], entry["proto"]) for entry in entries}) == CONNECTIONS
    return sum(entry["txPkts"] for entry in entries), sum(entry["txBytes"] for entry in entries)


def of_nfpcapd(text: str) -> Totals:
    """The line that it ends with."""
    found = re.findall(r"Flows: (\d+), Packets: (\d+), Bytes: (\d+)", text)
    assert sum(int(flows) for flows, _, _ in found) == CONNECTIONS
    return sum(int(packets) for _, packets, _ in found), sum(int(size) for _, _, size in found)


def of_softflowd(text: str) -> Totals:
    """The table that it ends with."""
    found = re.findall(r"^\s*(?:tcp|udp) \(\d+\):\s+(\d+)\s+(\d+)", text, re.MULTILINE)
    return sum(int(packets) for _, packets in found), sum(int(size) for size, _ in found)


@pytest.mark.parametrize(
    ("tool", "period_s"),
    [("nfpcapd", WHOLE_S), ("nfpcapd", DEFAULT_S), ("softflowd", WHOLE_S)],
)
def test_read(
    benchmark: Any,  # noqa: ANN401
    capture: tuple[Path, Totals],
    tmp_path: Path,
    tool: str,
    period_s: int,
) -> None:
    """Ten times faster than either, every connection in full."""
    path, expected = capture
    program = tool_or_skip(tool)
    command = {
        "nfpcapd": [program, "-r", str(path), "-w", str(tmp_path)],
        # As many flows as it takes, and none of its daemon's files.
        "softflowd": [
            *(program, "-r", str(path), "-m", str(2 * CONNECTIONS), "-d"),
            *("-p", str(tmp_path / "pid"), "-c", "none"),
        ],
    }[tool]
    read = {"nfpcapd": of_nfpcapd, "softflowd": of_softflowd}[tool]
    ours = [
        *(sys.executable, "-m", "netlog", "read", str(path)),
        *("--exit-traffic", "log", "--period", str(period_s)),
    ]
    Turns(
        benchmark,
        measured=lambda: run(ours, expected, of_netlog),
        beside=lambda: run(command, expected, read),
    ).row(
        f"read a capture, 5 M packets, 64 k connections, {period_s} s periods",
        tool,
        BUDGET if period_s == WHOLE_S else None,
        unit="CPU s",
        inverse=True,
        rounds=ROUNDS,
    )
