"""`netlog exec`: what is killed, several times each, under traffic, and what becomes of the counts.

The meter lies in a file. The first test is that of netlog alone; what is killed in the others is
the daemon, alone or with netlog before or after it.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_configs import needs, socat
from tests.support.daemons import Metered, metered, popen, rest, tunnel, underlay
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import kernel
from tests.support.soak import short_and_soak

pytestmark = [pytest.mark.root, needs("socat")]


def with_meter(folder: Path) -> tuple[str, str]:
    """Options that put the meter into a file."""
    config = folder / "exec.toml"
    config.write_text(f'meter = "{folder}/run/meter"\n')
    return "--config", str(config)


@contextlib.contextmanager
def traffic(namespace: Namespace) -> Iterator[None]:
    """Send datagrams to the other end, one after the other, until the block ends."""
    stop = threading.Event()
    with namespace.entered():
        user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        while not stop.wait(0.0005):
            with contextlib.suppress(OSError):
                user.sendto(bytes(100), ("100.64.0.2", 9))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()
        user.close()


def daemon_of(metered: Metered) -> int:
    """The process that netlog started."""
    children = Path(f"/proc/{metered.process.pid}/task/{metered.process.pid}/children")
    wait_for(lambda: bool(children.read_text()), "the daemon is there")
    return int(children.read_text().split()[0])


def crossed(namespace: Namespace) -> int:
    """Packets that the interface has handed to the daemon."""
    return namespace.counters("tun0").tx_packets


def more(namespace: Namespace, least: int = 50) -> None:
    """Wait until so many more packets have crossed."""
    before = crossed(namespace)
    wait_for(lambda: crossed(namespace) >= before + least, "packets cross")


def end(pid: int) -> None:
    """End a daemon whose netlog is dead."""
    os.kill(pid, signal.SIGTERM)


@short_and_soak("times", 3, 10)
def test_netlog_is_killed_and_another_one_goes_on(tmp_path: Path, times: int) -> None:
    """The daemon runs on unharmed; `--attach` has what was counted meanwhile, each packet once."""
    options = with_meter(tmp_path)
    with underlay() as (left, _):
        left.ip("tuntap add dev tun0 mode tun")
        with metered(left, tmp_path, socat()[0], *options) as a:
            wait_for(a.is_up, "the interface is up")
            with traffic(left):
                daemon = daemon_of(a)
                for _ in range(times):
                    more(left)
                    a.process.kill()
                    a.process.wait()
                    more(left)
                    a.process = popen(left, tmp_path, *options, "--attach", f"{tmp_path}/run/meter")
                    more(left)
            rest(a)
            end(daemon)
            assert a.ended() == 0
        assert a.tun() == kernel(left.counters("tun0"))
        assert not (tmp_path / "run" / "meter").exists()


def kill(a: Metered, victims: tuple[str, ...]) -> None:
    """Kill the daemon, netlog or both, in that order, while packets cross."""
    daemon = daemon_of(a)
    more(a.namespace)
    for victim in victims:
        if victim == "daemon":
            os.kill(daemon, signal.SIGKILL)
            continue
        a.process.kill()
        if victim == victims[0]:
            a.process.wait()
            more(a.namespace)


@pytest.mark.parametrize(
    "victims",
    [("daemon",), ("daemon", "netlog"), ("netlog", "daemon")],
    ids=["daemon", "daemon-netlog", "netlog-daemon"],
)
@short_and_soak("times", 3, 10)
def test_the_daemon_is_killed(tmp_path: Path, victims: tuple[str, ...], times: int) -> None:
    """Whoever polls next emits what was left, once; a dying daemon had one packet in hand.

    A packet that was read and not counted yet is missing, one a kill at the most; none is there
    twice.
    """
    options = with_meter(tmp_path)
    with underlay() as (left, _):
        left.ip("tuntap add dev tun0 mode tun")
        for _ in range(times):
            with metered(left, tmp_path, socat()[0], *options) as a:
                wait_for(a.is_up, "the interface is up")
                with traffic(left):
                    kill(a, victims)
                status = a.ended()
                if "netlog" not in victims:
                    assert status == 128 + signal.SIGKILL
        # Not there if netlog saw the daemon's end, and was done, before it was killed.
        if (tmp_path / "run" / "meter").exists():
            a.process = popen(left, tmp_path, *options, "--attach", f"{tmp_path}/run/meter")
            assert a.ended() == 0
        expected, counted = kernel(left.counters("tun0")), a.tun()
    assert expected[0] - times <= counted[0] <= expected[0]
    assert counted[0] > times * 50
    # What was read was sent, unless the daemon was killed between the two.
    assert counted[0] - times <= a.sock()[0] <= expected[0]
    assert not (tmp_path / "run" / "meter").exists()


def test_two_daemons_have_each_their_own(tmp_path: Path) -> None:
    """Two commands at once do not count for each other."""
    with tunnel(tmp_path, *socat()) as (a, b):
        rest(a, b)
        found = kernel(a.namespace.counters("tun0"))
        a.stop()
        b.stop()
        assert a.tun() == found
        assert a.sock()[:2] == b.sock()[2:]
