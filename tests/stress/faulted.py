"""Work on files whose system calls fail: a program, for `test_stress_faults`.

    faulted.py FOLDER SCENARIO WAY TIMES STEP FIRST

Started with the library of tests/support/faults.c. It runs the scenario again and again, with
another call failing each time: FIRST, FIRST + STEP and so on, up to the first run that has no such
call. Each run is a line of JSON on standard output: what there was at the end, to be judged.
"""

import contextlib
import ctypes
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from netlog import DeviceError, Meter, PacketBatch, SockDevice, TunDevice
from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks import (
    Backoff,
    FileShipper,
    FileSink,
    PeriodId,
    QueuedSink,
    Rotation,
    SpooledSink,
)
from netlog.spool import Spool
from tests.support.namespace import Namespace

OPEN = Path("/proc/self/fd")
METER = b"0123456789abcdef"
MESSAGES = 6
EPOCHS = 4
TRIES = 8
SLOTS, BATCHES = 8, 5
PLACES = {"sock": b"sockets", "tun": b"/dev/net/tun"}
WAIT_S = 30.0
SHIPPED_S = 0.2
PACKET = bytes.fromhex(
    "4500001c000000004011000064400001644000020400080000080000"
)  # UDP 100.64.0.1:1024 -> 100.64.0.2:2048

INWARD = bytes.fromhex("4500001d00000000401100006440000264400001000904000009000078")
"""UDP 100.64.0.2:9 -> 100.64.0.1:1024. The kernel counts a packet whatever its checksum is."""


def message(number: int) -> Message:
    """A message with a number of packets of its own."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 1 << number, 100, 0, 0)
    return Message(f"n{number}", 1, 2, virtual_traffic=flow_array([row]))


def until(done: Callable[[], bool]) -> None:
    """Wait until something is done."""
    end_s = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < end_s, "never done"
        time.sleep(0.0005)


def in_files(folder: Path) -> str:
    """The text of all files with messages."""
    return "".join(path.read_text() for path in sorted(folder.glob("flows*.jsonl")))


def file(folder: Path, arm: Callable[[], None], rotation: Rotation | None = None) -> dict[str, Any]:
    """A file behind a queue, as `netlog run` has it."""
    arm()
    try:
        inner = FileSink(folder / "flows.jsonl", rotation=rotation)
    except OSError as error:
        return {"refused": str(error)}
    sink = QueuedSink(inner, "file")
    for number in range(MESSAGES):
        sink.write(message(number))
        until(lambda: not sink.counters()["file"].pending)
    sink.close(WAIT_S)
    counters = sink.counters()["file"]
    return {
        "written": counters.written,
        "dropped": counters.dropped,
        "packets": counters.dropped_packets,
    }


def file_again(folder: Path) -> dict[str, Any]:
    """What is in the files."""
    return {"text": in_files(folder)}


def rotated(folder: Path, arm: Callable[[], None]) -> dict[str, Any]:
    """As `file`, with a new file after every second message."""
    return file(folder, arm, Rotation(max_bytes=300))


def spooled(folder: Path, arm: Callable[[], None]) -> dict[str, Any]:
    """A spool before a file: what is refused stays in the meter, and is offered again."""
    arm()
    try:
        sink = spooled_sink(folder)
    except OSError as error:
        return {"refused": str(error)}
    lost = 0
    for epoch in range(1, EPOCHS + 1):
        for _ in range(TRIES):
            try:
                if sink.begin(PeriodId(METER, epoch)):
                    sink.write(message(epoch))
                    sink.commit()
                break
            except OSError:
                sink.abort()
        else:
            lost += 1
        # What could not be read is told with the next message: it is not waited for.
        sink.wait_empty(SHIPPED_S)
    with contextlib.suppress(OSError):
        sink.close(WAIT_S)
    return {"lost": lost}


def spooled_again(folder: Path) -> dict[str, Any]:
    """The next process, with a disk that works: it has what the first one left."""
    sink = spooled_sink(folder)
    for epoch in range(1, EPOCHS + 1):
        if sink.begin(PeriodId(METER, epoch)):
            sink.write(message(epoch))
            sink.commit()
    sink.wait_empty(WAIT_S)
    counters = sink.counters()["file"]
    sink.close(WAIT_S)
    return {"text": in_files(folder), "dropped": counters.dropped}


def spooled_sink(folder: Path) -> SpooledSink:
    """The sink of a gateway with a meter in a file."""
    inner = FileSink(folder / "flows.jsonl")
    try:
        spool = Spool(folder / "spool", max_bytes=1 << 20)
    except BaseException:
        inner.close()
        raise
    backoff = Backoff(between=lambda _, high: high / 1000)
    return SpooledSink(spool, FileShipper(inner), node_id="n", name="file", backoff=backoff)


def meter(folder: Path, arm: Callable[[], None]) -> dict[str, Any]:
    """A meter in a file: counts, polls, closes; the next process takes over what is left."""
    arm()
    path = str(folder / "run" / "meter")
    counted = polled = 0
    try:
        with Meter.create(path, 64) as made:
            for _ in range(3):
                made.update_tx(PACKET)
                counted += 1
                made.update_tx(PACKET)
                counted += 1
                polled += packets(made)
            made.update_tx(PACKET)
            counted += 1
    except OSError as error:
        return {"refused": str(error), "counted": counted, "polled": polled}
    return {"counted": counted, "polled": polled}


def meter_again(folder: Path) -> dict[str, Any]:
    """The next process: it attaches to the file, or makes it."""
    path = str(folder / "run" / "meter")
    try:
        found = Meter.attach(path, poll=True)
    except FileNotFoundError:
        found = Meter.create(path, 64)
    with found:
        left = packets(found) + packets(found)
    return {"left": left}


def packets(of: Meter) -> int:
    """What a poll finds."""
    return int(of.extract()["tx_packets"].sum())


def sock(_folder: Path, arm: Callable[..., None]) -> dict[str, Any]:
    """Two sockets: what one says that it sent is what came, and what the other one counted."""
    sent = came = failures = 0
    with SockDevice.bind("127.0.0.1", 0) as left, SockDevice.bind("127.0.0.1", 0) as right:
        out, into = PacketBatch(SLOTS), PacketBatch(SLOTS)
        for slot in range(SLOTS):
            out.put(slot, bytes(slot + 1), right.address)
        arm()
        for _ in range(BATCHES):
            try:
                sent += left.send_batch(out, SLOTS)
            except DeviceError:
                failures += 1
            came += received(right.recv_batch, into)
        ctypes.CDLL(None).faults_stop()
        came += received(right.recv_batch, into)
        tx, rx, refused = left.extract_statistics(), right.extract_statistics(), left.refusals
        return {
            "offered": BATCHES * SLOTS,
            "sent": sent,
            "came": came,
            "refused": refused.packets + refused.queue_full_packets,
            "tx": int(tx["tx_packets"].sum()),
            "rx": int(rx["rx_packets"].sum()),
            "failures": failures,
        }


def received(read: Callable[[PacketBatch], int], into: PacketBatch) -> int:
    """How many packets are there now; a failing call is repeated."""
    found = 0
    for _ in range(TRIES):
        try:
            while count := read(into):
                found += count
        except DeviceError:
            continue
        break
    return found


def tun(_folder: Path, arm: Callable[..., None]) -> dict[str, Any]:
    """A TUN in a namespace: its counts are those of the kernel."""
    read = written = failures = 0
    with Namespace() as namespace:
        with namespace.entered():
            device = TunDevice.open("tun0")
            user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with device, user:
            namespace.quiet("tun0")
            namespace.up("tun0", "100.64.0.1/24")
            out, into = PacketBatch(SLOTS), PacketBatch(SLOTS)
            for slot in range(SLOTS):
                out.put(slot, INWARD)
            arm()
            for _ in range(BATCHES):
                for _ in range(SLOTS):
                    user.sendto(b"x", ("100.64.0.2", 9))
                try:
                    written += device.write_batch(out, SLOTS)
                except DeviceError:
                    failures += 1
                read += received(device.read_batch, into)
            ctypes.CDLL(None).faults_stop()
            read += received(device.read_batch, into)
            counted = device.extract_statistics()
            kernel = namespace.counters("tun0")
            return {
                "read": read,
                "written": written,
                "tx": int(counted["tx_packets"].sum()),
                "rx": int(counted["rx_packets"].sum()),
                "kernel_tx": kernel.tx_packets,
                "kernel_rx": kernel.rx_packets,
                "failures": failures,
            }


SCENARIOS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[Path], dict[str, Any]] | None]]
SCENARIOS = {
    "file": (file, file_again),
    "rotated": (rotated, file_again),
    "spooled": (spooled, spooled_again),
    "meter": (meter, meter_again),
    "sock": (sock, None),
    "tun": (tun, None),
}


def main() -> None:
    """Run a scenario with each of its calls failing."""
    folder, name, *numbers = sys.argv[1:]
    way, times, step, first = map(int, numbers)
    faults = ctypes.CDLL(None)
    run, then = SCENARIOS[name]
    for call in itertools.count(first, step):
        inside = Path(folder) / str(call)
        inside.mkdir()
        where = PLACES.get(name, os.fsencode(inside))
        before = len(list(OPEN.iterdir()))
        result = run(inside, partial(faults.faults_arm, where, call, times, way))
        calls = faults.faults_calls()
        faults.faults_arm(b"", 0, 0, 0)
        after = len(list(OPEN.iterdir()))
        if then is not None:
            result |= then(inside)
        line = {"call": call, "hit": calls >= call, "open": after - before, **result}
        sys.stdout.write(json.dumps(line) + "\n")
        if calls < call:
            return


if __name__ == "__main__":
    main()
