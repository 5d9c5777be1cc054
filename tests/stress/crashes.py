"""A poller that is killed at its k-th line, and a writer that goes on counting meanwhile."""

import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import netlog
from netlog.sinks import Sink

PLACE_BYTES = 200
POLLS = 3
PERIOD_S = 0.002
HANG_S = 60
"""Not a measure of anything: a poller that hangs should end."""

WRITER = """
import sys, threading, numpy, netlog
path, flows = sys.argv[1], int(sys.argv[2])
meter = netlog.Meter.attach(path)
packet = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")
batch = b"".join(packet[:20] + (n + 1).to_bytes(2, "big") + packet[22:] for n in range(flows))
starts = numpy.arange(flows) * len(packet)
lengths = numpy.full(flows, len(packet))
datagrams = numpy.zeros(flows, netlog.DATAGRAM_DTYPE)
datagrams["address"] = numpy.void(bytes(10) + bytes((255, 255, 192, 0, 2, 7)))
datagrams["port"] = numpy.arange(flows) % 5 + 1
datagrams["version"], datagrams["length"] = 4, 60
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("counting", flush=True)
batches = 0
while not stop.wait(0.001):
    meter.update_batch(batch, starts, lengths, rx=batches % 2 == 1)
    meter.update_datagrams(datagrams)
    batches += 1
print(batches * flows, flush=True)
"""


@contextmanager
def writing(path: Path, flows: int) -> Iterator[Callable[[], int]]:
    """Count in a process of its own; the function ends it and tells the packets (28 B each)."""
    command = [sys.executable, "-c", WRITER, str(path), str(flows)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        told, says = process.stdin, process.stdout
        assert told is not None
        assert says is not None
        assert says.readline() == "counting\n"

        def finish() -> int:
            told.close()
            return int(says.readline())

        try:
            yield finish
        finally:
            process.kill()


@dataclass(frozen=True)
class Setup:
    """What a poller works with; `open_sink` makes it, the same after each crash."""

    meter: Path
    open_sink: Callable[[], Sink]
    watched: tuple[str, ...]


def poll(setup: Setup, polls: int) -> None:
    """What a process that polls does from start to end."""
    with netlog.Meter.attach(setup.meter, poll=True) as meter:
        sink = setup.open_sink()
        logger, device = netlog.Logger(), netlog.MeterDevice(meter)
        logger.startup(
            "a",
            tun=device,
            sock=device,
            sink=sink,
            routes=netlog.RouterConfig(routes=["100.64.0.0/10"]),
            poll_period_s=PERIOD_S,
        )
        due_s = time.monotonic() + HANG_S
        while logger.counters().polls < polls:
            assert time.monotonic() < due_s, logger.counters()
            time.sleep(PERIOD_S)
        logger.shutdown()
        sink.close()


class Killer:
    """Ends its own process before it executes the k-th line of the watched modules."""

    def __init__(self, watched: tuple[str, ...], line: int, place: mmap.mmap) -> None:
        self._watched = watched
        self._left = line
        self._place = place

    def install(self) -> None:
        """Watch every thread that starts from now on, and this one."""
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _call(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401
        name = frame.f_globals.get("__name__", "")
        return self._line if name.startswith(self._watched) else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401
        if event == "line":
            self._left -= 1
            if self._left == 0:
                place = f"{frame.f_globals['__name__']}:{frame.f_lineno}".encode()
                self._place[:PLACE_BYTES] = place.ljust(PLACE_BYTES)
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def poll_and_die(setup: Setup, line: int) -> str:
    """Poll in a child that is killed at its `line`-th line; where: "" if it came through."""
    with mmap.mmap(-1, PLACE_BYTES) as place:
        child = os.fork()
        if not child:
            status = 1
            try:
                Killer(setup.watched, line, place).install()
                poll(setup, POLLS)
                status = 0
            except BaseException:  # noqa: BLE001 - a child never returns into the test
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"poller at line {line}: status {status}"
        return place[:PLACE_BYTES].decode().strip() if status else ""


def traffic(messages: list[dict[str, Any]], *members: str) -> tuple[int, int]:
    """Packets and bytes of all entries in those arrays, both ways."""
    entries = [entry for message in messages for name in members for entry in message.get(name, ())]
    packets = sum(entry.get("txPkts", 0) + entry.get("rxPkts", 0) for entry in entries)
    n_bytes = sum(entry.get("txBytes", 0) + entry.get("rxBytes", 0) for entry in entries)
    return packets, n_bytes


def read_lines(paths: list[Path]) -> list[dict[str, Any]]:
    """The objects of JSON lines files; every line must be whole."""
    text = b"".join(path.read_bytes() for path in paths)
    assert not text or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]
