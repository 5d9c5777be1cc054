"""A poll's memory: that of a slice of its rows, however many there are."""

import subprocess
import sys

from tests.support import ROOT

CONNECTIONS = 600_000
MOST_BYTES = 24 << 20
"""A slice, what is made of it, and the messages of the moment are 8 MiB; all rows would be 56."""


def test_memory_does_not_grow_with_the_connections() -> None:
    """What a poll of many connections on four lanes takes beside the meter is bounded."""
    program = f"""
import sys
from pathlib import Path
import numpy as np
from tests.support.batches import count, packets
from netlog import Logger, Meter, MeterDevice, RouterConfig

def status(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) * 1024

class Sink:
    n_bytes = 0
    def write(self, message):
        self.n_bytes += len(message.to_json())

sink, logger = Sink(), Logger()
with Meter(2 * {CONNECTIONS}) as meter:
    lanes = [meter.acquire_lane() for _ in range(4)]
    logger.startup("n", tun=MeterDevice(meter), sink=sink, poll_period_s=3600, exit_traffic="log",
                   routes=RouterConfig(routes=["100.64.0.0/10"]))
    for start in range(0, {CONNECTIONS}, 50000):
        data = packets(np.arange(start, start + 50000))
        count(meter, data, lane=lanes[start // 50000 % 2])
        count(meter, data, rx=True, lane=lanes[2 + start // 100000 % 2])
    del data
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    logger.shutdown()
    for lane in lanes:
        meter.release_lane(lane)
    print(status("VmHWM") - before, sink.n_bytes, logger.counters().connections)
"""
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=True
    )
    taken, written, connections = map(int, done.stdout.split())
    assert connections == CONNECTIONS
    assert written > CONNECTIONS * 80
    assert taken < MOST_BYTES
