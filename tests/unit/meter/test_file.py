"""A meter in a file: whose it is, who may poll it, what a successor finds, what damage does."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from netlog import Logger, Message, Meter, MeterDevice, MeterFileError, StateError
from netlog.model.periods import Period

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a meter may lie."""
    return tmp_path / "run" / "gateway"


def packets(rows: np.ndarray) -> int:
    """All packets of the rows, both ways."""
    return int(rows["tx_packets"].sum() + rows["rx_packets"].sum())


def test_file_is_the_owners_own(path: Path) -> None:
    """File and directory are made for their owner only, and nothing else is left there."""
    with Meter.create(path, max_lanes=2) as meter:
        assert meter.path == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert list(path.parent.iterdir()) == [path]


def test_counts_outlive_their_process(path: Path) -> None:
    """What another process counted before it was killed is drained, each packet once."""
    Meter.create(path, max_lanes=2).close()
    program = (
        "import os, signal, sys, netlog\n"
        "meter = netlog.Meter.attach(sys.argv[1])\n"
        f"for _ in range(7): meter.update_tx(bytes.fromhex({PACKET.hex()!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert ended.returncode == -signal.SIGKILL
    with Meter.attach(path, poll=True) as meter:
        snapshot = meter.snapshot()
        assert packets(snapshot.tun) == 7
        meter.clear()
        assert packets(meter.extract()) == 0


def test_lane_of_dead_owner_is_free(path: Path) -> None:
    """With one lane a second process can count as soon as the first is dead."""
    Meter.create(path, max_lanes=1).close()
    program = (
        "import os, signal, sys, netlog\n"
        "meter = netlog.Meter.attach(sys.argv[1])\n"
        f"meter.update_tx(bytes.fromhex({PACKET.hex()!r}))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        with Meter.attach(path) as meter:
            with pytest.raises(StateError, match="lanes are taken"):
                meter.update_tx(PACKET)
            child.kill()
            child.wait()
            meter.update_rx(PACKET)
    with Meter.attach(path, poll=True) as meter:
        rows = meter.extract()
        assert packets(rows) == 2


def test_one_polls(path: Path) -> None:
    """A second poller is refused until the first is gone; a writer may not poll."""
    with Meter.create(path, max_lanes=2), pytest.raises(MeterFileError, match="polls") as caught:
        Meter.attach(path, poll=True)
    assert caught.value.errno == errno.EBUSY
    with Meter.attach(path) as writer, pytest.raises(MeterFileError, match="only its poller"):
        writer.snapshot()
    Meter.attach(path, poll=True).close()


def test_retired_counts_are_found_again(path: Path) -> None:
    """A snapshot that was not cleared is the successor's first one, under the same name."""
    with Meter.create(path, max_lanes=2) as meter:
        meter.update_tx(PACKET)
        first = meter.snapshot()
        meter.date(Period(10, 20, 30))
        meter.update_tx(PACKET)
        identity = meter.id
    with Meter.attach(path, poll=True) as meter:
        assert meter.id == identity
        assert meter.retired
        assert meter.period == (Period(10, 20, 30), True)
        again = meter.snapshot()
        assert (again.epoch, packets(again.tun)) == (first.epoch, 1)
        meter.clear()
        assert not meter.retired
        assert meter.period == (Period(10, 20, 30), False)
        assert packets(meter.extract()) == 1


def test_create_refuses_what_is_there(path: Path) -> None:
    """A file that exists is never overwritten."""
    Meter.create(path, max_lanes=2).close()
    before = path.read_bytes()
    with pytest.raises(MeterFileError, match="it exists already"):
        Meter.create(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_wrong_arguments_leave_nothing(path: Path) -> None:
    """An option out of range makes no file."""
    with pytest.raises(ValueError, match="max_lanes"):
        Meter.create(path, max_lanes=0)
    assert not path.exists()


def test_others_files_are_refused(path: Path) -> None:
    """A link, a file that others can read, and a directory that others can write to."""
    Meter.create(path, max_lanes=2).close()
    link, fifo = path.with_suffix(".link"), path.with_suffix(".fifo")
    link.symlink_to(path)
    with pytest.raises(MeterFileError):
        Meter.attach(link)
    path.chmod(0o640)
    with pytest.raises(MeterFileError, match="mode 0600"):
        Meter.attach(path)
    os.mkfifo(fifo, 0o600)
    with pytest.raises(MeterFileError, match="regular file"):
        Meter.attach(fifo)
    path.parent.chmod(0o777)
    with pytest.raises(MeterFileError, match="directory"):
        Meter.create(path.with_suffix(".new"))
    with pytest.raises(FileNotFoundError):
        Meter.attach(path.with_suffix(".none"))


def test_fork_must_attach_anew(path: Path) -> None:
    """A fork has its parent's locks without being it: it may not take lanes."""
    with Meter.create(path, max_lanes=2) as meter:
        child = os.fork()
        if not child:
            try:
                meter.update_tx(PACKET)
            except MeterFileError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_cut_file_is_an_error(path: Path) -> None:
    """A file that somebody shortens raises, and does not end the process."""
    with Meter.create(path, max_flows=64, max_lanes=2) as meter:
        meter.update_tx(PACKET)
        size = path.stat().st_size
        os.truncate(path, size - 4096)
        with pytest.raises(MeterFileError, match="was truncated"):
            meter.snapshot()
    with pytest.raises(MeterFileError, match="damaged"):
        Meter.attach(path)


POLL_DAMAGED = """
import sys, netlog
path, known = sys.argv[1], bytes.fromhex(sys.argv[2])
try:
    with netlog.Meter.attach(path, poll=True) as meter:
        for _ in range(3):
            snapshot = meter.snapshot(0.01)
            routes = netlog.RouterConfig(routes=["100.64.0.0/10"])
            for message in netlog.build_messages(
                node_id="a", start=0, end=1, tun=snapshot.tun_rows(), sock=snapshot.sock_rows(),
                routes=routes, exit_traffic="log",
            ):
                netlog.Message.from_json(message.to_json())
            meter.clear()
except (netlog.MeterFileError, OverflowError):
    sys.exit(3)
"""


@pytest.mark.parametrize("seed", range(24))
def test_damage_is_an_error_at_most(path: Path, seed: int) -> None:
    """Whatever the bytes of the file are, polling it gives rows or an error, and no crash."""
    rng = random.Random(seed)  # noqa: S311 - a test
    with Meter.create(path, max_flows=256, max_lanes=2) as meter:
        for number in range(200):
            source = number.to_bytes(2, "big")
            meter.update_tx(PACKET[:20] + source + PACKET[22:])
        if seed % 2:
            meter.snapshot()
    data = bytearray(path.read_bytes())
    # Not the magic and the options, which would end it all too soon: but each of them by itself.
    begin = 0 if seed < 4 else 64
    for _ in range(1 if seed < 4 else 2 ** (seed % 12)):
        where = rng.choice([rng.randrange(begin, 1024), 4096 + rng.randrange(1024)])
        where = rng.choice([where, rng.randrange(begin, len(data))])
        data[where] = rng.choice([0, 0xFF, rng.randrange(256)])
    path.write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", POLL_DAMAGED, path, PACKET.hex()],
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode in (0, 3), ended.stderr.decode()


def test_count_beyond_the_table_is_an_error(path: Path) -> None:
    """A count that the table has no room for is not believed."""
    with Meter.create(path, max_flows=64, max_lanes=1) as meter:
        meter.update_tx(PACKET)
        data = path.read_bytes()
        # The count of the live bank's tun table is the only 1 in the lane header's counters.
        header = np.frombuffer(data[4096 + 128 : 4096 + 136], np.uint64)
        assert header[0] == 1
        with path.open("r+b") as file:
            file.seek(4096 + 128)
            file.write((65).to_bytes(8, "little"))
        with pytest.raises(MeterFileError, match="damaged"):
            meter.snapshot()


def test_periods_tile_over_a_restart(path: Path) -> None:
    """The successor's first period begins a nanosecond after the predecessor's last one."""
    messages: list[Message] = []
    with Meter.create(path, max_lanes=2) as meter:
        logger = Logger()
        logger.startup("a", tun=MeterDevice(meter), sink=messages.append, poll_period_s=3600)
        meter.update_tx(PACKET)
        logger.shutdown()
        # What comes now is the successor's to find.
        meter.update_tx(PACKET)
    with Meter.attach(path, poll=True) as meter:
        last, _ = meter.period
        logger = Logger()
        logger.startup("a", tun=MeterDevice(meter), sink=messages.append, poll_period_s=3600)
        logger.shutdown()
    assert [message.packets for message in messages] == [1, 1]
    assert messages[0].end_ns <= last.end_ns
    assert messages[1].start_ns == last.end_ns + 1


def test_what_was_retired_and_what_came_then_are_two_periods(path: Path) -> None:
    """A successor emits both before its own first period, with the times that were said."""
    messages: list[Message] = []
    with Meter.create(path, max_lanes=2) as meter:
        meter.update_tx(PACKET)
        meter.snapshot()
        begun = meter.period[0].end_ns + 1
        meter.date(Period(begun, begun + 9, meter.period[0].ended_ns))
        meter.update_rx(PACKET)
    emitted = threading.Semaphore(0)

    def write(message: Message) -> None:
        messages.append(message)
        emitted.release()

    with Meter.attach(path, poll=True) as meter:
        logger = Logger()
        logger.startup("a", tun=MeterDevice(meter), sink=write, poll_period_s=3600)
        assert emitted.acquire(timeout=60)
        assert emitted.acquire(timeout=60)
        meter.update_tx(PACKET)
        logger.shutdown()
    assert [(m.start_ns - begun, m.packets) for m in messages][:2] == [(0, 1), (10, 1)]
    assert messages[0].end_ns == begun + 9
    assert len(messages) == 3
