"""Each system call on files may fail: the sums are exact, or the loss is told."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stress.faulted import EPOCHS, MESSAGES
from tests.support import ROOT
from tests.support.soak import short_and_soak

SOURCE = ROOT / "tests" / "support" / "faults.c"
PROGRAM = (sys.executable, "-W", "error", "-m", "tests.stress.faulted")
SHORT = -1
WAYS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EINTR": errno.EINTR,
    "EMFILE": errno.EMFILE,
    "short": SHORT,
}
STORED = {
    "file": list(range(MESSAGES)),
    "rotated": list(range(MESSAGES)),
    "spooled": list(range(1, EPOCHS + 1)),
}
MESSAGE = re.compile(r'\{"nodeId":"n(\d+)",.*"txPkts":(\d+),"txBytes":100\}\]\}')
LOSS = re.compile(r'\{"nodeId":"n\d*","dropped":\{"messages":(\d+),"packets":(\d+),"bytes":\d+\}\}')


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail."""
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    compiler = os.environ.get("CC", "cc").split()
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    subprocess.run([*compiler, *options, SOURCE, "-o", library, "-ldl"], check=True)
    return library


def runs(library: Path, folder: Path, scenario: str, way: int, times: int) -> list[dict[str, Any]]:
    """What each run of a scenario came to; the last one had no fault."""
    preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(library))))
    done = subprocess.run(
        [*PROGRAM, str(folder), scenario, str(way), str(times), "1", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": preload},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run["hit"] for run in found] == [True] * (len(found) - 1) + [False]
    return found


@short_and_soak("times", 1, 3)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", STORED)
def test_each_message_is_stored_once_or_told_as_lost(
    faults: Path, fast_dir: Path, scenario: str, way: str, times: int
) -> None:
    """Whichever call on a file, a rotation or a spool fails; no descriptor is left open."""
    found = runs(faults, fast_dir, scenario, WAYS[way], times)
    for run in found:
        assert run["open"] == 0, run
        lines = run["text"].splitlines()
        messages = [match for line in lines if (match := MESSAGE.fullmatch(line))]
        losses = [match for line in lines if (match := LOSS.fullmatch(line))]
        assert len(messages) + len(losses) == len(lines), run
        if "refused" in run and scenario != "spooled":
            assert not lines
            continue
        names = [int(match[1]) for match in messages]
        assert len(set(names)) == len(names), run
        lost = sum(int(match[1]) for match in losses)
        # What cannot be read may be lost; every other call can be repeated.
        assert way == "EIO" or not lost, run
        packets = sum(int(match[2]) for match in (*messages, *losses))
        assert len(names) + lost == len(STORED[scenario]), run
        assert packets == sum(1 << number for number in STORED[scenario]), run
    assert [int(match) for match in re.findall(r'"n(\d+)"', found[-1]["text"])] == STORED[scenario]


@short_and_soak("times", 1, 3)
@pytest.mark.parametrize("way", WAYS)
def test_what_a_meter_file_counted_is_found(
    faults: Path, fast_dir: Path, way: str, times: int
) -> None:
    """By its own polls, or by the next process, which can always make or attach the file."""
    for run in runs(faults, fast_dir, "meter", WAYS[way], times):
        assert run["open"] == 0, run
        assert run["polled"] + run["left"] == run["counted"], run


@short_and_soak("times", 5, 1)
@pytest.mark.parametrize("way", [errno.EIO, errno.EINTR, errno.ENOBUFS, errno.ECONNREFUSED, SHORT])
def test_a_socket_counts_what_went(faults: Path, fast_dir: Path, way: int, times: int) -> None:
    """Whatever of a batch failed, what is counted as sent came, and the rest is refused."""
    found = runs(faults, fast_dir, "sock", way, times)
    # A first failure can be an error that a remote sent back: netlog repeats the call.
    assert way != errno.EIO or times == 1 or any(run["refused"] for run in found)
    for run in found:
        assert run["sent"] == run["tx"] == run["came"] == run["rx"], run
        assert run["sent"] + run["refused"] == run["offered"], run


@pytest.mark.root
@short_and_soak("times", 5, 1)
@pytest.mark.parametrize("way", [errno.EIO, errno.EINTR])
def test_a_tun_counts_what_the_kernel_counts(
    faults: Path, fast_dir: Path, way: int, times: int
) -> None:
    """Whatever read or write of a batch failed."""
    for run in runs(faults, fast_dir, "tun", way, times):
        assert run["read"] == run["tx"] == run["kernel_tx"], run
        assert run["written"] == run["rx"] == run["kernel_rx"], run
