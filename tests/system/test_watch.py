"""`netlog watch`: taps on real interfaces, each in a process and a namespace of its own."""

import fcntl
import json
import os
import re
import signal
import socket
import struct
from functools import partial
from pathlib import Path

import pytest

from tests.support.gateways import joined
from tests.support.namespace import TUNSETIFF, LinkCounters, Namespace, wait_for
from tests.support.runs import Running, summed
from tests.support.watches import counts, drain, tun_of, udp4, watching

pytestmark = pytest.mark.root

IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x1000, 0x4000
TUNSETOFFLOAD, TUN_F_CSUM, TUN_F_USO4 = 0x400454D0, 0x1, 0x20
UDP_SEGMENT = 103
VIRTUAL = ("virtual", "subnet", "exit")


def stack_totals(counters: LinkCounters) -> tuple[int, int, int]:
    """Packets that the stack gave to a TUN, read or dropped; those written to it, and their bytes.

    The kernel counts no bytes of what it drops.
    """
    return counters.tx_packets + counters.tx_dropped, counters.rx_packets, counters.rx_bytes


def user(namespace: Namespace, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A UDP socket of a user."""
    with namespace.entered():
        return socket.socket(family, socket.SOCK_DGRAM)


def drops(running: Running) -> int:
    """Frames that the kernel dropped before a tap could see them, as the watch says at its end."""
    return sum(map(int, re.findall(r"(\d+) dropped by the kernel", running.said)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_tun_is_counted_exactly(tmp_path: Path, number: signal.Signals, threads: int) -> None:
    """The sum over the messages is what the kernel gave to the TUN, with what its queue dropped."""
    options = ("--tun", "tun0", "--route", "100.64.0.0/10", "--threads", str(threads))
    with Namespace() as namespace, watching(namespace, tmp_path, *options) as running:
        wait_for(lambda: "tun0: waiting for the interface" in running.said, "it waits")
        with tun_of(namespace, up=False) as tun:
            wait_for(lambda: counts(running, "tun tun0"), "the tap is there")
            namespace.up("tun0", "100.64.0.1/24", "fd7a:115c:a1e0::1/64")
            for number_ in range(3000):
                tun.write(udp4(bytes(number_ % 1000)))
            with user(namespace) as four, user(namespace, socket.AF_INET6) as six:
                for length in range(1000):
                    four.sendto(bytes(length), ("100.64.0.2", 9))
                    six.sendto(bytes(length), ("fd7a:115c:a1e0::2", 9))
            drain(tun)
            assert running.stop(number) == 0
            kernel = namespace.counters("tun0")
    tx_packets, tx_bytes, rx_packets, rx_bytes = summed(running.messages, *VIRTUAL)
    assert (tx_packets, rx_packets, rx_bytes) == stack_totals(kernel)
    assert rx_packets == 3000
    # The queue holds 500 packets. Some answers of ICMP were sent too, as nobody listens.
    assert kernel.tx_packets == 500 < kernel.tx_dropped
    assert tx_bytes >= sum(range(1000)) * 2 + 1000 * (28 + 48)
    assert drops(running) == 0
    assert summed(running.messages, "virtual")[2] == 3000


def test_an_interface_is_followed(tmp_path: Path) -> None:
    """Removed and made again, it is tapped again, and nothing of either time is lost."""
    given = written = 0
    with Namespace() as namespace, watching(namespace, tmp_path, "--tun", "tun0") as running:
        for times in (1, 2, 3):
            with tun_of(namespace, up=False) as tun:
                wait_for(partial(counts, running, "tun tun0", times), "it is tapped")
                namespace.up("tun0", "100.64.0.1/24")
                with user(namespace) as stack:
                    for length in range(100 * times):
                        stack.sendto(bytes(length), ("100.64.0.2", 9))
                        tun.write(udp4(bytes(length)))
                drain(tun)
                kernel = stack_totals(namespace.counters("tun0"))
                given, written = given + kernel[0], written + kernel[1]
        wait_for(lambda: running.said.count("the interface was removed") == 3, "it is gone")
        assert running.stop() == 0
    total = summed(running.messages, *VIRTUAL)
    assert (total[0], total[2]) == (given, written)
    assert written == 600


def test_an_interface_that_is_down_for_a_while_is_tapped_on(tmp_path: Path) -> None:
    """What is only set down and up again keeps its tap."""
    options = ("--tun", "tun0")
    with (
        Namespace() as namespace,
        tun_of(namespace) as tun,
        watching(namespace, tmp_path, *options) as running,
    ):
        wait_for(lambda: counts(running, "tun tun0"), "it is tapped")
        for length in range(50):
            tun.write(udp4(bytes(length)))
        namespace.ip("link set tun0 down")
        namespace.ip("link set tun0 up")
        for length in range(50):
            tun.write(udp4(bytes(length)))
        drain(tun)
        kernel = namespace.counters("tun0")
        running.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: "frames counted, 0 dropped" in running.said, "the counters are shown")
        assert running.stop() == 0
    total = summed(running.messages, *VIRTUAL)
    assert (total[0], total[2], total[3]) == stack_totals(kernel)
    assert total[2] == 100
    assert running.said.count("tun tun0: counting") == 1


def test_a_super_packet_counts_as_its_segments(tmp_path: Path) -> None:
    """A TUN with IFF_VNET_HDR gets several datagrams as one; each is counted, with its headers."""
    options = ("--tun", "tun0", "--route", "100.64.0.0/10")
    with Namespace() as namespace, watching(namespace, tmp_path, *options) as running:
        with namespace.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", flags))
            fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | 0x40)
        namespace.quiet("tun0")
        wait_for(lambda: counts(running, "tun tun0"), "it is tapped")
        namespace.up("tun0", "100.64.0.1/24")
        with user(namespace) as stack:
            stack.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            assert stack.sendto(bytes(40 * 1000 + 1), ("100.64.0.2", 9)) == 40001
        kernel_read = len(os.read(fd, 1 << 16))
        assert running.stop() == 0
        os.close(fd)
    assert kernel_read == 10 + 28 + 40001  # it came as one
    assert summed(running.messages, *VIRTUAL)[:2] == (41, 40001 + 41 * 28)


@pytest.mark.parametrize("port", ["7000@lan0", "7000"])
def test_datagrams_are_counted_by_remote_endpoint(tmp_path: Path, port: str) -> None:
    """Those of one port, IPv4 and IPv6, segments as datagrams, a fragmented one whole."""
    with joined() as (left, right):
        options = ("--tun", "lan0", "--sock", port)
        with watching(left, tmp_path, *options) as running, user(left) as one, user(right) as two:
            wait_for(lambda: counts(running, f"sock {port}"), "it is tapped")
            one.bind(("192.0.2.1", 7000))
            two.bind(("192.0.2.2", 7001))
            two.settimeout(20)
            before = left.snmp()
            for length in (0, 1, 100, 1472, 9000, 40000):  # the last two in fragments
                one.sendto(bytes(length), ("192.0.2.2", 7001))
                two.sendto(*two.recvfrom(1 << 16))
                assert len(one.recv(1 << 16)) == length
            # Not of the port: left to the kernel's filter.
            two.sendto(b"x", ("192.0.2.1", 9))
            one.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            one.sendto(bytes(10 * 1000 + 1), ("192.0.2.2", 7001))
            with (
                user(left, socket.AF_INET6) as six,
                user(right, socket.AF_INET6) as other,
            ):
                six.bind(("fd00:2::1", 7000))
                six.sendto(bytes(500), ("fd00:2::2", 7002))
                six.sendto(bytes(5000), ("fd00:2::2", 7002))
                other.bind(("fd00:2::2", 7003))
                other.sendto(bytes(7), ("fd00:2::1", 7000))
                assert len(six.recv(100)) == 7
            after = left.snmp()
            assert running.stop() == 0
    bytes4 = 0 + 1 + 100 + 1472 + 9000 + 40000
    physical: dict[str, list[int]] = {}
    for message in running.messages:
        for entry in message.get("physicalTraffic", ()):
            sums = physical.setdefault(entry["dst"], [0, 0, 0, 0])
            for at, member in enumerate(("txPkts", "txBytes", "rxPkts", "rxBytes")):
                sums[at] += entry.get(member, 0)
    assert physical == {
        "192.0.2.2:7001": [6 + 11, bytes4 + 10001, 6, bytes4],
        "[fd00:2::2]:7002": [2, 5500, 0, 0],
        "[fd00:2::2]:7003": [0, 0, 1, 7],
    }
    # The kernel takes what was sent as segments for one datagram.
    assert after["UdpOutDatagrams"] - before["UdpOutDatagrams"] == 6 + 1


def test_a_tunnel_over_loopback_counts_once_an_end(tmp_path: Path) -> None:
    """A tap sees each datagram leave and come: sent by the port is tx, received by it is rx."""
    with (
        Namespace() as namespace,
        watching(namespace, tmp_path, "--tun", "tun0", "--sock", "7000") as running,
        user(namespace) as one,
        user(namespace) as two,
    ):
        wait_for(lambda: counts(running, "sock 7000"), "it is tapped")
        one.bind(("127.0.0.1", 7000))
        two.bind(("127.0.0.2", 8000))
        for length in range(100):
            one.sendto(bytes(length), ("127.0.0.2", 8000))
        for _ in range(10):
            two.sendto(b"abc", ("127.0.0.1", 7000))
        assert running.stop() == 0
    assert summed(running.messages, "physical") == (100, sum(range(100)), 10, 30)


def test_without_the_right_it_says_which(tmp_path: Path) -> None:
    """CAP_NET_RAW is what it needs, and the only thing."""
    none = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    with (
        Namespace() as namespace,
        watching(namespace, tmp_path, "--tun", "tun0", prefix=none) as running,
    ):
        assert running.ended() == 1
    assert "netlog: packet socket: Operation not permitted" in running.said
    assert "CAP_NET_RAW" in running.said


def test_the_one_right_is_enough(tmp_path: Path) -> None:
    """With CAP_NET_RAW alone it counts, to a file too."""
    only = ("setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all")
    options = ("--tun", "tun0", "--sock", "7000", "--output", "flows.jsonl")
    with (
        Namespace() as namespace,
        tun_of(namespace) as tun,
        watching(namespace, tmp_path, *options, prefix=only) as running,
    ):
        wait_for(lambda: counts(running, "tun tun0"), "it is tapped")
        for _ in range(10):
            tun.write(udp4(b"abc"))
        assert running.stop() == 0
    assert running.messages == []
    lines = (tmp_path / "flows.jsonl").read_text().splitlines()
    assert summed([json.loads(line) for line in lines], *VIRTUAL)[2] == 10


def test_what_the_ring_has_no_room_for_is_told(tmp_path: Path) -> None:
    """A watch that cannot keep up counts what it has, and the rest as the kernel's drops."""
    with (
        Namespace() as namespace,
        tun_of(namespace) as tun,
        watching(namespace, tmp_path, "--tun", "tun0") as running,
    ):
        wait_for(lambda: counts(running, "tun tun0"), "it is tapped")
        running.process.send_signal(signal.SIGSTOP)
        with user(namespace) as stack:
            stack.connect(("100.64.0.2", 9))
            for _ in range(120_000):
                stack.send(bytes(100))
        running.process.send_signal(signal.SIGCONT)
        drain(tun)
        kernel = namespace.counters("tun0")
        assert running.stop() == 0
    counted = summed(running.messages, *VIRTUAL)[0]
    assert counted + drops(running) == kernel.tx_packets + kernel.tx_dropped
    assert min(counted, drops(running)) > 1000
    assert "the ring ran full 0 times" not in running.said
