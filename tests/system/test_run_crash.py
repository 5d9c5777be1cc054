"""`netlog run` with its meter in a file, killed (SIGKILL) again and again on a persistent TUN."""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.gateways import joined
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import CONFIG, kernel, relays, started, summed, without_offload
from tests.support.soak import short_and_soak

pytestmark = pytest.mark.root

SO_NO_CHECK = 11  # asm-generic/socket.h
BATCH = 64
"""NETLOG_BATCH of csrc/io/batch.h: what each of the relay's threads can have in hand."""
PACE_S = 0.0005


@contextlib.contextmanager
def talking(left: Namespace, right: Namespace) -> Iterator[None]:
    """Send datagrams from behind the left gateway, and answer them behind the right one."""
    done = threading.Event()
    with left.entered():
        user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with right.entered():
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with user, other:
        user.bind(("100.64.0.1", 5000))
        other.bind(("100.64.0.2", 6000))
        other.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        other.settimeout(0.1)

        def ask() -> None:
            while not done.wait(PACE_S):
                # While the gateway is dead there is no way to the other end.
                with contextlib.suppress(OSError):
                    user.sendto(bytes(100), ("100.64.0.2", 6000))

        def answer() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    other.sendto(*other.recvfrom(2000))

        threads = [threading.Thread(target=ask), threading.Thread(target=answer)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


def in_file(path: Path) -> list[dict[str, object]]:
    """The messages of a file, which has whole lines only."""
    text = path.read_bytes() if path.exists() else b""
    assert not text or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def crossed(namespace: Namespace, packets: int) -> bool:
    """Whether the TUN has handed over more than so many packets."""
    return kernel(namespace.counters("netlog0"))[0] > packets


@short_and_soak("kills", 2, 8)
@pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])
def test_a_killed_gateway_loses_a_batch_at_most(tmp_path: Path, offload: bool, kills: int) -> None:  # noqa: FBT001 - pytest
    """After each kill its successor emits what was counted, once; the file has what the TUN saw.

    Nobody sends super-packets, and datagrams without a checksum are not joined: so with offloads,
    too, the kernel's counters of the TUN are those of the packets.
    """
    form = CONFIG if offload else without_offload(CONFIG)
    flows, meter = tmp_path / "flows.jsonl", tmp_path / "run" / "meter"
    config = form.format(me=1, peer=2).replace("= 0.2", "= 1.0")
    config = f'meter = "{meter}"\n{config}'
    config += f'[[sinks]]\ntype = "file"\npath = "{flows}"\n'
    rng = random.Random(1)  # noqa: S311 - a test
    with joined() as (left, right):
        left.ip("tuntap add dev netlog0 mode tun")
        # Addresses stay with a persistent TUN, so that the sender can be bound before it is used.
        left.ip("addr add 100.64.0.1/32 dev netlog0")
        other = form.format(me=2, peer=1)
        with started(right, tmp_path / "b", other) as b:
            wait_for(lambda: relays(b), "the other gateway is up")
            with talking(left, right):
                for number in range(kills):
                    with started(left, tmp_path / f"a{number}", config) as a:
                        wait_for(partial(relays, a), "the gateway is up")
                        before = kernel(left.counters("netlog0"))
                        wait_for(partial(crossed, left, before[0] + 50), "packets cross")
                        time.sleep(rng.random() * 0.3)
            with started(left, tmp_path / "a", config) as a:
                wait_for(lambda: relays(a), "the gateway is up")
                assert "continuing where the last process stopped" in a.said
                assert a.stop() == 0
            counted = kernel(left.counters("netlog0"))
    got = summed(in_file(flows), "virtual", "subnet", "exit")
    assert counted[0] > kills * 50
    assert counted[2] > 0
    for packets in (0, 2):
        assert 0 <= counted[packets] - got[packets] <= kills * BATCH
        # All packets are of one size.
        assert got[packets + 1] == got[packets] * 128
    assert not meter.exists()


def test_a_meter_has_one_gateway(tmp_path: Path) -> None:
    """A second process with the same meter says who is at fault, and leaves the first alone."""
    meter = tmp_path / "run" / "meter"
    config = f'meter = "{meter}"\n' + CONFIG.format(me=1, peer=2)
    with joined() as (left, right), started(left, tmp_path / "a", config) as a:
        wait_for(lambda: relays(a), "the gateway is up")
        other = config.replace("netlog0", "netlog1").replace("41641", "41642")
        with started(right, tmp_path / "b", other) as b:
            assert b.ended() == 1
        assert "another process polls this meter" in b.said
        assert str(meter) in b.said
        assert a.process.poll() is None
        assert a.stop() == 0


def test_a_meter_of_another_size_is_emptied_first(tmp_path: Path) -> None:
    """With another `max_flows` the successor emits what is there, and makes a new file."""
    flows, meter = tmp_path / "flows.jsonl", tmp_path / "run" / "meter"
    config = f'meter = "{meter}"\n' + CONFIG.format(me=1, peer=2).replace("= 0.2", "= 60")
    config += f'[[sinks]]\ntype = "file"\npath = "{flows}"\n'
    with joined() as (left, _):
        with started(left, tmp_path / "a", config) as a:
            wait_for(lambda: relays(a), "the gateway is up")
            with left.entered():
                user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with user:
                for _ in range(5):
                    user.sendto(bytes(100), ("100.64.0.2", 6000))
            wait_for(lambda: kernel(a.counters())[0] >= 5, "packets cross")
            size = meter.stat().st_size
        with started(left, tmp_path / "b", config.replace("= 1024", "= 4096")) as b:
            wait_for(lambda: relays(b), "the gateway is up")
            assert meter.stat().st_size > size
            assert summed(in_file(flows), "virtual")[:2] == (5, 5 * 128)
            assert b.stop() == 0
    assert summed(in_file(flows), "virtual")[:2] == (5, 5 * 128)
