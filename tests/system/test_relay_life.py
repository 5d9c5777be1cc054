"""The relay's life: starting, resting, stopping, and what happens when a device goes away."""

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from netlog import Count, DeviceError, Peer, Relay, SockDevice, StateError
from tests.support.gateways import PORT, Gateway, open_descriptors, pair, relay_threads, taken
from tests.support.namespace import wait_for

pytestmark = pytest.mark.root

UDP_SEGMENT = 103
IP_RECVERR = 11  # linux/in.h; Python does not name it

SPINNING_NS = 50_000_000
"""CPU time in a second that only a spinning thread uses, also on a machine that is very busy."""


@pytest.fixture(name="gateways", params=[False, True], ids=["plain", "offload"])
def _gateways(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Gateway]]:
    with pair(offload=request.param) as both:
        yield both


def passes(a: Gateway, b: Gateway, text: bytes) -> bool:
    """Whether a datagram gets from behind a to behind b."""
    with a.udp(a.overlay4) as user, b.udp(b.overlay4) as other:
        user.sendto(text, other.getsockname())
        return other.recv(2000) == text


def wakeups(threads: list[Path]) -> int:
    """How often threads went to sleep by themselves so far."""
    found = 0
    for thread in threads:
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found += int(line.split()[1])
    return found


def cpu_ns(threads: list[Path]) -> int:
    """CPU time that threads have used so far."""
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def wait_through_a_second(gateway: Gateway) -> None:
    """Let a second pass in which nothing happens: nobody wakes this meter."""
    gateway.meter.wait(1.0)


def test_restarts_leak_nothing(gateways: tuple[Gateway, Gateway]) -> None:
    """Started and stopped fifty times it moves packets each time, and leaves nothing behind."""
    a, b = gateways
    relay, other = a.relay(), b.relay()
    with relay, other:
        passes(a, b, b"warm")
    descriptors = open_descriptors()
    for number in range(50):
        with relay, other:
            assert relay.running
            assert len(relay_threads()) == 4
            assert passes(a, b, b"%d" % number)
        assert not relay.running
        wait_for(lambda: not relay_threads(), "its threads are gone")
        assert open_descriptors() == descriptors
    assert relay.error is None
    assert relay.counters().tx.packets == 51
    assert taken(a.meter)[0][0] == 51


def test_idle_threads_sleep(gateways: tuple[Gateway, Gateway]) -> None:
    """Without packets both threads stay asleep."""
    a, _ = gateways
    with a.relay() as relay:
        threads = relay_threads()
        wait_for(lambda: all(_sleeps(thread) for thread in threads), "the threads sleep")
        before, used_ns = wakeups(threads), cpu_ns(threads)
        wait_through_a_second(a)
        assert wakeups(threads) - before == 0
        assert cpu_ns(threads) == used_ns
        assert relay.running


def _sleeps(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_threads_leave_signals_alone(gateways: tuple[Gateway, Gateway]) -> None:
    """All signals are blocked in the relay's threads, so the program's own threads get them."""
    a, _ = gateways
    with a.relay():
        threads = relay_threads()
        assert [(thread / "comm").read_text().strip() for thread in threads] in (
            ["netlog-tx", "netlog-rx"],
            ["netlog-rx", "netlog-tx"],
        )
        for thread in threads:
            (blocked,) = (
                int(line.split()[1], 16)
                for line in (thread / "status").read_text().splitlines()
                if line.startswith("SigBlk")
            )
            # All but SIGKILL, SIGSTOP, and the two that glibc keeps for itself (32, 33).
            everything = (1 << 64) - 1
            kept = sum(1 << (number - 1) for number in (9, 19, 32, 33))
            assert blocked | kept == everything


def test_state_errors(gateways: tuple[Gateway, Gateway]) -> None:
    """Starting a running relay is an error, stopping a stopped one is not."""
    a, _ = gateways
    relay = a.relay()
    relay.stop()
    assert relay.wait(0)
    with relay:
        with pytest.raises(StateError, match="running"):
            relay.start()
        assert not relay.wait(0)
    relay.stop()
    assert relay.error is None


def test_interface_deleted(gateways: tuple[Gateway, Gateway]) -> None:
    """When its interface is deleted the relay ends by itself, and says why."""
    a, _ = gateways
    relay = a.relay()
    relay.start()
    a.namespace.ip("link del tun0")
    assert relay.wait(20)
    assert not relay.running
    assert isinstance(relay.error, DeviceError)
    assert relay.error.errno == errno.EBADFD
    assert "tun0" in str(relay.error)
    wait_for(lambda: not relay_threads(), "its threads are gone")
    relay.stop()
    assert relay.error.errno == errno.EBADFD
    # It can be started again, and ends again.
    relay.start()
    assert relay.wait(20)
    assert relay.error is not None
    relay.stop()


def sent_and_dropped(direction: Count, dropped: Mapping[str, Count]) -> tuple[int, int]:
    """Packets and bytes that a relay says it read."""
    counts = [direction, *dropped.values()]
    return sum(one.packets for one in counts), sum(one.bytes for one in counts)


def test_interface_deleted_under_load(gateways: tuple[Gateway, Gateway]) -> None:
    """Also while packets flow in both directions; all that was read is forwarded or dropped."""
    a, b = gateways
    relay = a.relay()
    relay.start()
    done = threading.Event()

    def pour(user: socket.socket, address: str) -> None:
        user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        while not done.is_set():
            with contextlib.suppress(OSError):  # there is no way any more
                user.sendto(bytes(5000), (address, 9))

    with b.relay() as other, a.udp(a.overlay4) as user, b.udp(b.overlay4) as answerer:
        threads = [
            threading.Thread(target=pour, args=(user, b.overlay4)),
            threading.Thread(target=pour, args=(answerer, a.overlay4)),
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: relay.counters().rx.packets > 5000, "packets flow")
        wait_for(lambda: relay.counters().tx.packets > 5000, "packets flow")
        a.namespace.ip("link del tun0")
        assert relay.wait(20)
        done.set()
        for thread in threads:
            thread.join()
        assert other.running
    assert isinstance(relay.error, DeviceError)
    assert relay.error.errno == errno.EBADFD
    relay.stop()
    counters = relay.counters()
    tun, sock = taken(a.meter)
    assert sent_and_dropped(counters.tx, counters.tx_dropped) == tun[:2]
    assert sent_and_dropped(counters.rx, counters.rx_dropped) == sock[2:]
    assert (counters.tx.packets, counters.tx.bytes) == sock[:2]
    assert (counters.rx.packets, counters.rx.bytes) == tun[2:]


@pytest.mark.parametrize("which", ["tun", "sock"])
def test_device_closed(gateways: tuple[Gateway, Gateway], which: str) -> None:
    """Closing a device stops the relay that uses it; the relay cannot be started after that."""
    a, _ = gateways
    relay = a.relay()
    relay.start()
    (a.tun if which == "tun" else a.sock).close()
    assert not relay.running
    assert isinstance(relay.error, StateError)
    assert "closed" in str(relay.error)
    wait_for(lambda: not relay_threads(), "its threads are gone")
    descriptors = open_descriptors()
    with pytest.raises(StateError, match="closed"):
        relay.start()
    assert open_descriptors() == descriptors
    # The other device is free again: it closes, and with it the meter's last lane is back.
    a.tun.close()
    a.sock.close()
    a.meter.close()


def test_no_lane_left(gateways: tuple[Gateway, Gateway]) -> None:
    """Without two free lanes the relay does not start, and holds none and no device back."""
    a, b = gateways
    taken_lanes = []
    with contextlib.suppress(StateError):
        while True:
            taken_lanes.append(a.meter.acquire_lane())
    a.meter.release_lane(taken_lanes.pop())
    relay = a.relay()
    with pytest.raises(StateError, match="max_lanes"):
        relay.start()
    a.meter.release_lane(taken_lanes.pop())
    with relay, b.relay():
        assert passes(a, b, b"now")
    for lane in taken_lanes:
        a.meter.release_lane(lane)


def test_icmp_errors_stop_nothing(gateways: tuple[Gateway, Gateway]) -> None:
    """A peer whose port is closed answers with ICMP errors: nothing fails, ends or spins."""
    a, b = gateways
    with a.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        # So that the kernel queues the errors and poll(2) reports them.
        plain.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        plain.bind(("192.0.2.1", 0))
        device = SockDevice.from_socket(plain, meter=a.meter)
    peers = [Peer("192.0.2.2:9", ("100.64.0.9",)), *a.peers]
    at = device.address
    with device, Relay(a.tun, device, peers) as relay:
        with a.udp(a.overlay4) as user:
            for _ in range(50):
                user.sendto(bytes(100), ("100.64.0.9", 9))
                # One that arrives, between those that come back.
                user.sendto(b"good", (b.overlay4, 9))
                assert b.sock.recvfrom(20)[0][28:] == b"good"
        threads = relay_threads()
        wait_for(lambda: all(_sleeps(thread) for thread in threads), "the threads sleep")
        wait_for(lambda: a.namespace.snmp()["IcmpInDestUnreachs"] > 0, "an ICMP error came back")
        before, used_ns = wakeups(threads), cpu_ns(threads)
        wait_through_a_second(a)
        assert wakeups(threads) - before <= 2
        assert cpu_ns(threads) - used_ns < SPINNING_NS
        # The receiving thread is there still.
        b.sock.sendto(b"\x45", at)
        wait_for(lambda: relay.counters().rx_dropped["malformed"].packets == 1, "it receives")
        assert relay.counters().tx.packets == 100
        assert relay.running


def test_socket_shut_down_does_not_spin(gateways: tuple[Gateway, Gateway]) -> None:
    """A socket that is always ready and never has anything is looked at now and then only."""
    a, _ = gateways
    with a.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("192.0.2.1", 0))
        plain.connect(("192.0.2.2", PORT))
        device = SockDevice.from_socket(plain, meter=a.meter)
        plain.shutdown(socket.SHUT_RDWR)
    with device, Relay(a.tun, device, a.peers) as relay:
        threads = relay_threads()
        used_ns = cpu_ns(threads)
        wait_through_a_second(a)
        # One look each 10 ms, of a few microseconds; a thread that spins uses all that it gets.
        assert cpu_ns(threads) - used_ns < SPINNING_NS
        assert relay.running


def test_full_tun_queue_drains(gateways: tuple[Gateway, Gateway]) -> None:
    """What the kernel queued before the start is moved then, more than one batch of it."""
    a, b = gateways
    with a.udp(a.overlay4) as user:
        for number in range(300):
            user.sendto(struct.pack("!I", number), (b.overlay4, 9))
    with a.relay() as relay:
        numbers = [struct.unpack("!I", b.sock.recvfrom(20)[0][28:])[0] for _ in range(300)]
        assert numbers == list(range(300))
    assert relay.counters().tx.packets == 300
