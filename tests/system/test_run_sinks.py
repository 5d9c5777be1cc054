"""`netlog run` with sinks in trouble: traffic goes on, losses are counted, it recovers."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netlog.fmt.source import unpack
from tests.support.gateways import joined
from tests.support.namespace import wait_for
from tests.support.runs import CONFIG, Running, kernel, relays, started, summed

pytestmark = pytest.mark.root

ON_TMPFS = str(Path(__file__).with_name("on_tmpfs.py"))
# A message of 2000 bytes has about 15 connections: a burst makes many messages.
MANY = "max_message_bytes = 2000\n"
BURST = 800
CLASSES = ("virtual", "subnet", "exit", "physical")


@contextlib.contextmanager
def alone(
    folder: Path, changes: str, prefix: Sequence[str] = (), stdout: int | None = None
) -> Iterator[Running]:
    """Run a gateway whose peer does not answer."""
    config = changes + CONFIG.format(me=1, peer=2)
    with (
        joined() as (left, _),
        started(left, folder / "a", config, stdout=stdout, prefix=prefix) as a,
    ):
        wait_for(lambda: relays(a), "the gateway is up")
        yield a


def burst(running: Running) -> None:
    """Send a datagram to each of many ports, and wait until a sink that works has all of them."""
    before = running.counters()
    with running.namespace.entered():
        user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with user:
        for port in range(1, BURST + 1):
            user.sendto(b"x", ("100.64.0.2", port))

    def is_read() -> bool:
        now = running.counters()
        read = now.tx_packets - before.tx_packets + now.tx_dropped - before.tx_dropped
        return read == BURST

    wait_for(is_read, "the relay has read all")
    sent = kernel(running.counters())
    wait_for(lambda: summed(messages_of(reference(running)), *CLASSES[:3]) == sent, "it is logged")


def amount(path: Path) -> tuple[int, int]:
    """Packets and bytes of the messages in a file, and of those that it says were lost."""
    tx_packets, tx_bytes, rx_packets, rx_bytes = summed(messages_of(path), *CLASSES)
    return (
        tx_packets + rx_packets + sum(loss["packets"] for loss in losses_of(path)),
        tx_bytes + rx_bytes + sum(loss["bytes"] for loss in losses_of(path)),
    )


def reference(running: Running) -> Path:
    """The file of the sink that works."""
    return running.folder / "reference.jsonl"


def objects_of(path: Path) -> list[dict[str, Any]]:
    """What a file has; every line but one that is being written must be an object."""
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return []


def messages_of(path: Path) -> list[dict[str, Any]]:
    """The messages in a file."""
    return [entry for entry in objects_of(path) if "dropped" not in entry]


def losses_of(path: Path) -> list[dict[str, int]]:
    """The losses that a file tells of."""
    return [entry["dropped"] for entry in objects_of(path) if "dropped" in entry]


def dropped(running: Running, name: str) -> int:
    """What a gateway says about a sink, when it is asked."""
    count = running.said.count(f"netlog: {name}: ")
    running.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: running.said.count(f"netlog: {name}: ") > count, "the counters are said")
    said = re.findall(
        rf"netlog: {re.escape(name)}: \d+ messages? written, (\d+) dropped", running.said
    )
    return int(said[-1]) if said else 0


@dataclass(frozen=True)
class Trouble:
    """What can happen to a directory."""

    begins: Callable[[Path], object]
    ends: Callable[[Path], object]
    said: str


def fill(folder: Path) -> None:
    """Leave no byte free."""
    with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def lock(folder: Path) -> None:
    """Let nobody make a file, and take the one that is there."""
    (folder / "flows.jsonl").unlink()
    folder.chmod(0o500)


FULL = Trouble(fill, lambda folder: (folder / "filler").unlink(), "No space left on device")
READ_ONLY = Trouble(lock, lambda folder: folder.chmod(0o700), "Permission denied")
REMOVED = Trouble(shutil.rmtree, Path.mkdir, "No such file or directory")


@pytest.mark.parametrize(
    "trouble", [FULL, READ_ONLY, REMOVED], ids=["full", "read-only", "removed"]
)
def test_a_directory_in_trouble_costs_no_traffic(tmp_path: Path, trouble: Trouble) -> None:
    """What did not fit into the queue is counted and told; the rest, and what follows, is there."""
    outside = tmp_path / "log"
    outside.mkdir()
    path = outside / "flows.jsonl"
    # In its own mount namespace, and so that modes bind also the superuser.
    prefix = [sys.executable, ON_TMPFS, str(outside), "1m"] if trouble is FULL else []
    prefix += ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    sinks = f'[{{ type = "file", path = "{path}" }}, {{ type = "file", path = "reference.jsonl" }}]'
    with alone(tmp_path, f"{MANY}sinks = {sinks}\n", prefix) as a:
        folder = Path(f"/proc/{a.process.pid}/root{outside}")
        file = folder / "flows.jsonl"
        burst(a)
        wait_for(lambda: amount(file) == amount(reference(a)), "both have the same")
        gone = (0, 0) if trouble is FULL else amount(file)
        trouble.begins(folder)
        while not dropped(a, str(path)):
            burst(a)
        trouble.ends(folder)
        wait_for(lambda: len(losses_of(file)) > 0, "it tells of the loss")
        burst(a)
        counted = kernel(a.counters())
        packets, n_bytes = amount(reference(a))
        wait_for(
            lambda: amount(file) == (packets - gone[0], n_bytes - gone[1]), "nothing is missing"
        )
        losses = losses_of(file)
        assert a.stop() == 0
    assert summed(messages_of(reference(a)), *CLASSES[:3]) == counted
    # Perhaps more than once: the line that tells of a loss fits where no message does.
    assert f"{path}: sink failed, will try again: " in a.said
    assert trouble.said in a.said
    assert f"{path}: sink works again" in a.said
    lost = {key: sum(loss[key] for loss in losses) for key in ("messages", "packets", "bytes")}
    assert f", {lost['messages']} dropped ({lost['packets']} packets, " in a.said
    assert re.search(r"netlog: reference\.jsonl: \d+ messages? written, 0 dropped\n", a.said)


def test_a_reader_that_hangs_delays_no_other_sink(tmp_path: Path) -> None:
    """A pipe that nobody reads drops what is too much; the file has everything at once."""
    reader, writer = os.pipe()
    changes = MANY + 'sinks = [{ type = "stdout" }, { type = "file", path = "reference.jsonl" }]\n'
    with os.fdopen(reader, "rb") as pipe, alone(tmp_path, changes, stdout=writer) as a:
        os.close(writer)
        while not dropped(a, "standard output"):
            burst(a)
        # Somebody reads again: it goes on by itself, and nothing else is lost.
        with (tmp_path / "pipe.jsonl").open("wb") as copy:
            thread = threading.Thread(target=shutil.copyfileobj, args=(pipe, copy))
            thread.start()
            counted = kernel(a.counters())
            assert a.stop() == 0
            thread.join()
    assert summed(messages_of(reference(a)), *CLASSES[:3]) == counted
    assert amount(tmp_path / "pipe.jsonl") == amount(reference(a))
    (loss,) = losses_of(tmp_path / "pipe.jsonl")
    assert f"{loss['messages']} dropped ({loss['packets']} packets, " in a.said


def test_a_reader_that_hangs_to_the_end_is_named(tmp_path: Path) -> None:
    """After ten seconds its messages are given up and counted, and the status is 1."""
    reader, writer = os.pipe()
    changes = MANY + 'sinks = [{ type = "stdout" }, { type = "file", path = "reference.jsonl" }]\n'
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        with alone(tmp_path, changes, stdout=writer) as a:
            os.close(writer)
            while not dropped(a, "standard output"):
                burst(a)
            counted = kernel(a.counters())
            assert a.stop() == 1
    assert "netlog: the sinks did not accept the last messages: standard output: took" in a.said
    assert summed(messages_of(reference(a)), *CLASSES[:3]) == counted
    counts = re.findall(r"netlog: .*: (\d+) messages? written, (\d+) dropped", a.said)[-2:]
    assert sum(map(int, counts[0])) == sum(map(int, counts[1]))


def test_a_rename_and_a_hang_up_lose_nothing(tmp_path: Path) -> None:
    """As logrotate does it, again and again under traffic: each message is in one of the files."""
    sinks = f'{MANY}sinks = [{{ type = "file", path = "reference.jsonl" }}]\n'
    with alone(tmp_path, sinks) as a:
        for number in range(5):
            with a.namespace.entered():
                user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with user:
                for port in range(1, BURST + 1):
                    user.sendto(b"x", ("100.64.0.2", port))
            wait_for(reference(a).exists, "there is a file")
            reference(a).rename(a.folder / f"rotated.{number}")
            a.process.send_signal(signal.SIGHUP)
            # The lock shows that the old file was let go, so that it may be packed.
            wait_for(lambda: is_free(a.folder / f"rotated.{number}"), "it is let go")  # noqa: B023
        sent = 5 * BURST

        def is_read() -> bool:
            now = a.counters()
            return now.tx_packets + now.tx_dropped >= sent

        wait_for(is_read, "the relay has read all")
        counted = kernel(a.counters())
        files = [reference(a), *(a.folder / f"rotated.{number}" for number in range(5))]
        wait_for(lambda: summed_in(files) == counted, "all of it is logged")
        # Without any traffic, nobody but the hang-up makes the new file.
        reference(a).rename(a.folder / "rotated.5")
        a.process.send_signal(signal.SIGHUP)
        wait_for(reference(a).exists, "there is a new file")
        assert a.process.poll() is None
        assert a.stop() == 0
    files.append(a.folder / "rotated.5")
    assert summed_in(files) == counted
    assert not any(losses_of(file) for file in files)


def summed_in(files: list[Path]) -> tuple[int, int, int, int]:
    """What some files have of the traffic in the tunnel."""
    return summed([found for file in files for found in messages_of(file)], *CLASSES[:3])


def is_free(path: Path) -> bool:
    """Whether no sink has the lock of a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_gateway_rotates_its_files(tmp_path: Path) -> None:
    """Every line is in one file, the packed ones included, and no file is longer than asked for."""
    changes = MANY + (
        'sinks = [{ type = "file", path = "reference.jsonl", rotate_bytes = "16KiB", '
        'compression = "zstd" }]\n'
    )
    with alone(tmp_path, changes) as a:
        with a.namespace.entered():
            user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with user:
            for port in range(1, BURST + 1):
                user.sendto(b"x", ("100.64.0.2", port))
        wait_for(lambda: any(a.folder.glob("reference-*.zst")), "a file is packed")
        wait_for(lambda: a.counters().tx_packets + a.counters().tx_dropped >= BURST, "it is read")
        counted = kernel(a.counters())
        assert a.stop() == 0
    texts = [b"".join(unpack([path.read_bytes()])) for path in a.folder.glob("reference*")]
    assert len(texts) > 2
    assert all(len(text) <= 16 << 10 for text in texts)
    messages = [json.loads(line) for text in texts for line in text.splitlines()]
    assert summed(messages, *CLASSES[:3]) == counted
