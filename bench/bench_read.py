"""Reading a capture is at least ten times faster than with the flow tools that Debian has.

All tools read the same file of 5 M packets of 64 k connections, snapped to 64 bytes, each as a
process of its own from start to end, and must come to the same totals. nfstream reads a file of
500 k packets, because it takes 15 us for each. The budget compares the same work: nfpcapd and
softflowd write every connection once, so netlog gets one period for the whole capture. With its
default period netlog writes twelve times as many entries; that row and the other tools are for
information. CPU time (user and system) is compared, so threads and a busy machine favour nobody.
"""

import importlib.util
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import BENCH, SEED
from bench.harness import Budget, Turns, tool_or_skip
from bench.peers import skip

PACKETS = 5_000_000
FEW_PACKETS = 500_000
CONNECTIONS = 65_536
SECONDS = 60
SNAP = 64
BLOCK = 500_000
ROUNDS = 3
TIMEOUT_S = 120
BUDGET = Budget(">=", 10)
BUDGETED = ("nfpcapd", "softflowd")
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
Flows = tuple[int, int, int]
"""Flows, packets and bytes, as a tool reports them."""

# Large buffers between pmacctd's processes: with the defaults most packets do not reach its table.
# It sleeps for milliseconds after each buffer that it hands over.
PMACCTD = """
plugins: print
aggregate: src_host, dst_host, src_port, dst_port, proto
print_output: csv
print_output_file: {path}
print_refresh_time: 300
print_cache_entries: 65537
plugin_pipe_size: 1073741824
plugin_buffer_size: 1048576
"""
NFSTREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    settings = {"idle_timeout": 300, "active_timeout": 300, "accounting_mode": 1}
    streamer = NFStreamer(sys.argv[1], n_dissections=0, n_meters=1, **settings)
    flows = [(flow.bidirectional_packets, flow.bidirectional_bytes) for flow in streamer]
    print(len(flows), *map(sum, zip(*flows)))
"""


def records(random: np.random.Generator, first: int, count: int, of: int) -> NDArray[Any]:
    """Return packets first..first+count of `of`: TCP and UDP in turn, 60 to 1499 bytes of IP."""
    rows = np.zeros(count, RECORD)
    moment = np.arange(first, first + count, dtype=np.uint64) * SECONDS * 10**6 // of
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


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture file, and what is in it."""

    path: Path
    totals: Totals
    connections: int


def written(path: Path, packets: int) -> Capture:
    """Write a capture of `packets` packets."""
    assert RECORD.itemsize == 16 + SNAP
    random = np.random.default_rng(SEED)
    n_bytes, seen = 0, np.zeros(1 << 24, np.bool_)
    header = np.array([0xA1B2C3D4, 4 << 16 | 2, 0, 0, SNAP, 1], "<u4")
    with path.open("wb") as file:
        file.write(header.tobytes())
        for first in range(0, packets, BLOCK):
            rows = records(random, first, BLOCK, packets)
            n_bytes += int(rows["total"].astype(np.int64).sum())
            seen[(rows["src"].astype(np.int64) << 4 & 0xFFFFFF) | (rows["dst"] & 15)] = True
            file.write(rows.tobytes())
    return Capture(path, (packets, n_bytes), int(seen.sum()))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """The large file; it is removed afterwards."""
    path = tmp_path_factory.mktemp("read") / "bench.pcap"
    yield written(path, PACKETS)
    path.unlink()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """The small file."""
    path = tmp_path_factory.mktemp("read") / "few.pcap"
    yield written(path, FEW_PACKETS)
    path.unlink()


def run(command: list[str], capture: Capture, totals: Callable[[str], Flows]) -> float:
    """Run a tool over the capture; return CPU seconds. Its totals must be the capture's."""
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
    flows, packets, n_bytes = totals(done.stdout)
    assert (packets, n_bytes) == capture.totals
    assert flows == capture.connections
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(capture: Capture, period_s: int) -> float:
    """Measure netlog."""

    def totals(text: str) -> Flows:
        entries = [entry for line in text.splitlines() for entry in json.loads(line)["exitTraffic"]]
        return (
            len({(entry["src"], entry["dst"], entry["proto"]) for entry in entries}),
            sum(entry["txPkts"] for entry in entries),
            sum(entry["txBytes"] for entry in entries),
        )

    command = [
        *(sys.executable, "-m", "netlog", "read", str(capture.path)),
        "--exit-traffic",
        "log",
    ]
    return run([*command, "--period", str(period_s)], capture, totals)


def nfpcapd(capture: Capture, folder: Path) -> float:
    """Measure nfpcapd; its totals are in its last line."""

    def totals(text: str) -> Flows:
        return added(re.findall(r"Flows: (\d+), Packets: (\d+), Bytes: (\d+)", text))

    command = [tool_or_skip("nfpcapd"), "-r", str(capture.path), "-w", str(folder)]
    return run(command, capture, totals)


def softflowd(capture: Capture, folder: Path) -> float:
    """Measure softflowd, with room for as many flows as the capture has, and no daemon's files.

    Its totals are in the table that it prints at the end.
    """

    def totals(text: str) -> Flows:
        found = re.findall(r"^\s*(?:tcp|udp) \(\d+\):\s+(\d+)\s+(\d+)", text, re.MULTILINE)
        return (
            capture.connections,
            sum(int(row[1]) for row in found),
            sum(int(row[0]) for row in found),
        )

    command = [
        *(tool_or_skip("softflowd"), "-r", str(capture.path), "-m", str(2 * CONNECTIONS), "-d"),
        *("-p", str(folder / "pid"), "-c", "none"),
    ]
    return run(command, capture, totals)


def argus(capture: Capture, folder: Path) -> float:
    """Measure argus; its own client adds up its file. It counts the bytes of Ethernet frames."""
    file, count = folder / "argus", tool_or_skip("racount")
    file.unlink(missing_ok=True)

    def totals(_text: str) -> Flows:
        shown = subprocess.run([count, "-r", file], capture_output=True, text=True, check=True)
        records, packets, _, _, n_bytes, *_ = map(int, shown.stdout.split("sum")[1].split())
        return records - 1, packets, n_bytes - 14 * packets  # the first record is its own

    command = [tool_or_skip("argus"), "-S", str(WHOLE_S), "-r", str(capture.path), "-w", str(file)]
    return run(command, capture, totals)


def pmacctd(capture: Capture, folder: Path) -> float:
    """Measure pmacctd, which prints a table to a file. Without large buffers it drops packets."""
    file, settings = folder / "table.csv", folder / "pmacctd.conf"
    settings.write_text(PMACCTD.format(path=file))

    def totals(_text: str) -> Flows:
        rows = [("1", *line.split(",")[-2:]) for line in file.read_text().splitlines()[1:]]
        return added(rows)

    command = [tool_or_skip("pmacctd"), "-I", str(capture.path), "-f", str(settings)]
    return run(command, capture, totals)


def nfstream(capture: Capture, _folder: Path) -> float:
    """Measure nfstream from Python, its usual way of use, without inspecting payloads."""
    if importlib.util.find_spec("nfstream") is None:
        skip("nfstream")

    def totals(text: str) -> Flows:
        return added([tuple(text.splitlines()[-1].split())])

    return run([sys.executable, "-c", NFSTREAM, str(capture.path)], capture, totals)


def added(rows: Iterable[tuple[str, ...]]) -> Flows:
    """Return the sums of the columns flows, packets and bytes."""
    columns = [[int(value) for value in column] for column in zip(*rows, strict=True)]
    flows, packets, n_bytes = (sum(column) for column in columns)
    return flows, packets, n_bytes


def row(
    benchmark: Any,  # noqa: ANN401
    capture: Capture,
    period_s: int,
    theirs: Callable[[], float],
    beside_name: str,
    *,
    rounds: int = 2,
) -> None:
    """Read in turns, and save the row."""
    size = f"{capture.totals[0] / 10**6:g} M packets, 64 k connections"
    Turns(benchmark, lambda: ours(capture, period_s), theirs).row(
        f"read a capture, {size}, {period_s} s periods",
        beside_name,
        BUDGET if beside_name in BUDGETED and period_s == WHOLE_S else None,
        unit="CPU s",
        inverse=True,
        rounds=rounds,
    )


Reader = Callable[[Capture, Path], float]


@pytest.mark.parametrize(
    ("tool", "period_s"),
    [(nfpcapd, WHOLE_S), (nfpcapd, DEFAULT_S), (softflowd, WHOLE_S)],
)
def test_read(
    benchmark: Any,  # noqa: ANN401
    capture: Capture,
    tmp_path: Path,
    tool: Reader,
    period_s: int,
) -> None:
    """Ten times faster than either, with every connection in full."""
    rounds = ROUNDS if period_s == WHOLE_S else 2
    row(benchmark, capture, period_s, lambda: tool(capture, tmp_path), tool.__name__, rounds=rounds)


@pytest.mark.parametrize("tool", [argus, pmacctd])
def test_others(benchmark: Any, capture: Capture, tmp_path: Path, tool: Reader) -> None:  # noqa: ANN401
    """The other tools that Debian has."""
    row(benchmark, capture, WHOLE_S, lambda: tool(capture, tmp_path), tool.__name__)


def test_nfstream(benchmark: Any, few: Capture, tmp_path: Path) -> None:  # noqa: ANN401
    """A Python library; for so few packets netlog's time is mostly its start."""
    row(benchmark, few, WHOLE_S, lambda: nfstream(few, tmp_path), "nfstream")
