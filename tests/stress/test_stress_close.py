"""A meter that is closed while others look at it and poll it."""

import subprocess
import sys

from tests.support import ROOT

# The tables are touched, so that closing takes the kernel a while. Whoever still looks at what is
# gone would die: hence a process of its own.
PROGRAM = """
import threading
import numpy as np
from netlog import Meter, StateError

PACKETS, BYTES = 1 << 16, 28
data = np.zeros((PACKETS, BYTES), np.uint8)
data[:, 0], data[:, 3], data[:, 9] = 0x45, BYTES, 17
data[:, 12:16] = np.arange(PACKETS, dtype=">u4").view(np.uint8).reshape(-1, 4)

def look(meter, seen, begun):
    try:
        while True:
            seen.add((meter.id, meter.max_flows, meter.max_lanes, meter.region_bytes))
            meter.retired, meter.period
            begun.set()
    except StateError:
        seen.add("closed")

for number in range(20):
    meter, seen, begun = Meter(PACKETS), set(), threading.Event()
    meter.update_batch(data, np.arange(PACKETS) * BYTES, np.full(PACKETS, BYTES))
    threads = [threading.Thread(target=look, args=(meter, seen, begun)) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait(20)
    meter.close()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 2 and "closed" in seen, seen
print("done")
"""


def test_a_meter_is_closed_under_those_who_look() -> None:
    """Each look is of the meter as it was, or a StateError."""
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
