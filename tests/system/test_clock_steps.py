"""A real step of the wall clock, under the real clocks' functions: libfaketime in one process."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path

import pytest

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

PROGRAM = textwrap.dedent("""
    import os, sys, threading, netlog
    packet = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")
    came = threading.Semaphore(0)
    def sink(message):
        print(message.to_json().decode(), flush=True)
        came.release()
    def count(n):
        for _ in range(n):
            meter.update_tx(packet)
            assert came.acquire(timeout=60)
    meter = netlog.Meter()
    logger = netlog.Logger()
    logger.startup("a", tun=netlog.MeterDevice(meter), sink=sink, poll_period_s=0.5)
    count(3)
    with open(os.environ["FAKETIME_TIMESTAMP_FILE"], "w") as file:
        file.write(sys.argv[1])
    count(5)
    logger.shutdown()
""")


def moment(text: str) -> float:
    """Seconds since 1970, to the microsecond."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime")
@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_step_leaves_periods_their_length(tmp_path: Path, step: int) -> None:
    """All periods are as long as the time that passed, and one line tells the step."""
    stamp = tmp_path / "stamp"
    stamp.write_text("+0")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{step:+d}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    spans = [(moment(one["start"]), moment(one["end"])) for one in messages]
    assert all(0 <= end - start < abs(step) / 2 for start, end in spans)
    jumps = [after[0] - before[1] for before, after in itertools.pairwise(spans)]
    assert sum(abs(jump - step) < abs(step) / 2 for jump in jumps) == 1
    assert sum(abs(jump) > abs(step) / 2 for jump in jumps) == 1
    assert done.stderr.count("the clock was stepped by") == 1
