"""TunDevice on real TUN interfaces, in namespaces of their own."""

import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from netlog import DeviceError, Meter, PacketBatch, SockDevice, StateError, TunDevice
from tests.support import ROOT
from tests.support.gateways import kernel_totals, open_descriptors, totals
from tests.support.namespace import TUNSETIFF, Namespace, wait_for

pytestmark = pytest.mark.root

IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x2, 0x1000, 0x4000


@pytest.fixture(name="namespace")
def _namespace() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(name="tun", params=[False, True], ids=["plain", "offload"])
def _tun(request: pytest.FixtureRequest, namespace: Namespace) -> Iterator[TunDevice]:
    with namespace.entered():
        tun = TunDevice.open("tun0", offload=request.param)
    namespace.quiet("tun0")
    namespace.up("tun0", "100.64.0.1/24", "fd00:64::1/64")
    with tun:
        yield tun


def user(namespace: Namespace, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A UDP socket behind the TUN."""
    with namespace.entered():
        made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(20)
    return made


def udp4(payload: bytes, port: int) -> bytes:
    """An IPv4 packet from 100.64.0.2 to 100.64.0.1, its UDP checksum left out (RFC 768)."""
    total = 28 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, 64, 17, 0)
    head += socket.inet_aton("100.64.0.2") + socket.inet_aton("100.64.0.1")
    words = struct.unpack("!10H", head)
    folded = sum(words)
    folded = (folded & 0xFFFF) + (folded >> 16)
    head = head[:10] + struct.pack("!H", ~folded & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHH", 9, port, 8 + len(payload), 0) + payload


def test_reads_equal_kernel(namespace: Namespace, tun: TunDevice) -> None:
    """What is read, in batches and one by one, counts as the kernel counts it; IPv4 and IPv6."""
    batch = PacketBatch(max_packets=100)
    with user(namespace) as four, user(namespace, socket.AF_INET6) as six:
        for length in range(150):
            four.sendto(bytes(length), ("100.64.0.2", 9))
            six.sendto(bytes(length), ("fd00:64::2", 9))
    assert tun.read_batch(batch) == batch.count == 100
    assert [batch.packet(slot)[0] for slot in range(2)] == [0x45, 0x60]
    assert [len(batch.packet(slot)) for slot in range(4)] == [28, 48, 29, 49]
    assert len(tun.read()) == 28 + 50
    assert tun.read_batch(batch, timeout_s=20) == 100
    assert tun.read_batch(batch) == 99
    assert tun.read_batch(batch) == batch.count == 0
    kernel = kernel_totals(namespace.counters("tun0"))
    rows = tun.extract_statistics()
    assert totals(rows) == kernel
    assert kernel == (300, sum(range(150)) * 2 + 150 * 28 + 150 * 48, 0, 0)
    assert sorted(rows["version"]) == [4, 6]
    assert len(tun.extract_statistics()) == 0


def test_writes_equal_kernel(namespace: Namespace, tun: TunDevice) -> None:
    """What is written arrives, and counts as the kernel counts it."""
    batch = PacketBatch(max_packets=100, packet_bytes=2000)
    with user(namespace) as receiver:
        receiver.bind(("100.64.0.1", 0))
        port = receiver.getsockname()[1]
        for slot in range(100):
            batch.put(slot, udp4(bytes([slot]) * slot, port))
        assert tun.write_batch(batch, 100) == 100
        tun.write(udp4(b"one by one", port))
        for slot in range(100):
            assert receiver.recv(2000) == bytes([slot]) * slot
        assert receiver.recv(2000) == b"one by one"
    kernel = kernel_totals(namespace.counters("tun0"))
    assert totals(tun.extract_statistics()) == kernel
    assert kernel[2:] == (101, 101 * 28 + sum(range(100)) + 10)
    assert tun.refusals.packets == 0


def test_refused_writes_are_not_counted(namespace: Namespace, tun: TunDevice) -> None:
    """What the kernel refuses is skipped and reported; what is around it arrives and counts."""
    batch = PacketBatch(max_packets=3)
    batch.put(0, udp4(b"a", 9))
    batch.put(1, b"\x00 this is no IP packet")
    batch.put(2, udp4(b"b", 9))
    assert tun.write_batch(batch, 3) == 2
    assert (tun.refusals.packets, tun.refusals.bytes) == (1, 22)
    assert tun.refusals.errno == errno.EINVAL
    with pytest.raises(DeviceError, match="tun0") as refused:
        tun.write(b"\x00")
    assert refused.value.errno == errno.EINVAL
    namespace.ip("link set tun0 down")
    with pytest.raises(DeviceError) as down:
        tun.write(udp4(b"c", 9))
    assert down.value.errno == errno.EIO
    kernel = kernel_totals(namespace.counters("tun0"))
    assert totals(tun.extract_statistics()) == kernel
    assert kernel[2:] == (2, 58)


def test_empty_packets_are_refused_before_anything_is_written(
    namespace: Namespace, tun: TunDevice
) -> None:
    """A packet of 0 bytes is a ValueError, and nothing of its batch is written."""
    batch = PacketBatch(max_packets=2)
    batch.put(0, udp4(b"", 9))
    batch.put(1, b"")
    with pytest.raises(ValueError, match=r"lengths\[1\]"):
        tun.write_batch(batch, 2)
    with pytest.raises(ValueError, match="0"):
        tun.write(b"")
    assert kernel_totals(namespace.counters("tun0"))[2:] == (0, 0)
    assert len(tun.extract_statistics()) == 0


def test_short_slots_cut(namespace: Namespace, tun: TunDevice) -> None:
    """A packet longer than its slot arrives cut, and counts as an unattributed one of that size.

    With offloads it is read whole first, and counts so.
    """
    batch = PacketBatch(max_packets=2, packet_bytes=100)
    with user(namespace) as sender:
        sender.sendto(bytes(500), ("100.64.0.2", 9))
    assert tun.read_batch(batch, timeout_s=20) == 1
    assert batch.lengths[0] == 100
    (row,) = tun.extract_statistics()
    counted = (4, 1, 528) if tun.offloads else (0, 1, 100)
    assert (row["version"], row["tx_packets"], row["tx_bytes"]) == counted


def test_two_threads_read_each_packet_once(namespace: Namespace, tun: TunDevice) -> None:
    """Several threads may read one device: nothing is lost, doubled or miscounted."""
    seen: list[list[int]] = [[], [], []]

    def read(into: list[int]) -> None:
        batch = PacketBatch(max_packets=8, packet_bytes=2000)
        while True:
            try:
                tun.read_batch(batch, timeout_s=None)
            except StateError:
                return
            into.extend(struct.unpack("!I", batch.packet(i)[28:32])[0] for i in range(batch.count))

    threads = [threading.Thread(target=read, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    with user(namespace) as sender:
        for number in range(3000):
            sender.sendto(struct.pack("!I", number), ("100.64.0.2", 9))
            if number % 100 == 99:
                wait_for(lambda n=number: sum(map(len, seen)) > n, "the readers follow")  # type: ignore[misc]
    rows = tun.extract_statistics()
    kernel = kernel_totals(namespace.counters("tun0"))
    tun.close()
    for thread in threads:
        thread.join()
    assert sorted(seen[0] + seen[1] + seen[2]) == list(range(3000))
    assert totals(rows) == kernel == (3000, 3000 * 32, 0, 0)


def test_waiting_reader_is_woken_by_close(tun: TunDevice) -> None:
    """close() ends a read that waits; closing again and later calls are as documented."""
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            tun.read()
        except StateError as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    tun.close()
    reader.join()
    tun.close()
    assert len(outcome) == 1
    assert tun.fd == -1
    assert tun.closed
    for call in (
        lambda: tun.read_batch(PacketBatch(1)),
        lambda: tun.write(b"\x45"),
        lambda: tun.set_statistics_enabled(enabled=False),
        tun.extract_statistics,
    ):
        with pytest.raises(StateError, match="tun0 is closed"):
            call()


def test_deleted_interface_ends_a_waiting_read(namespace: Namespace, tun: TunDevice) -> None:
    """A reader learns that the interface is gone."""
    threading.Timer(0.05, namespace.ip, ("link del tun0",)).start()
    with pytest.raises(DeviceError, match="tun0") as gone:
        tun.read(timeout_s=20)
    assert gone.value.errno == errno.EBADFD


def test_read_times_out(tun: TunDevice) -> None:
    """Without packets a read ends after its time-out."""
    with pytest.raises(TimeoutError):
        tun.read(timeout_s=0.01)
    assert tun.read_batch(PacketBatch(1), timeout_s=0.01) == 0


def test_names(namespace: Namespace) -> None:
    """The kernel chooses the name if asked; a new device has the MTU that was asked for."""
    with (
        namespace.entered(),
        TunDevice.open() as first,
        TunDevice.open("gate%d", mtu=1380) as second,
    ):
        assert first.name == "tun0"
        assert second.name == "gate0"
        assert "mtu 1380" in namespace.ip("link show dev gate0")
    assert "gate0" not in namespace.ip("link")


def test_name_in_use(namespace: Namespace, tun: TunDevice) -> None:
    """A second device of one name is EBUSY, of an interface that is no TUN EINVAL; both named."""
    descriptors = open_descriptors()
    with namespace.entered():
        with pytest.raises(DeviceError, match=r"another process.*tun0") as busy:
            TunDevice.open(tun.name)
        with pytest.raises(DeviceError, match=r"not a TUN.*lo") as wrong:
            TunDevice.open("lo")
    assert busy.value.errno == errno.EBUSY
    assert wrong.value.errno == errno.EINVAL
    assert open_descriptors() == descriptors


def test_persistent_interface(namespace: Namespace) -> None:
    """A persistent interface that nobody has open is attached to, and stays when closed."""
    namespace.ip("tuntap add dev keep0 mode tun")
    with namespace.entered(), TunDevice.open("keep0") as tun:
        assert tun.name == "keep0"
    assert "keep0" in namespace.ip("link")


def attached(namespace: Namespace, flags: int) -> int:
    """A descriptor of a new interface with the given flags."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"", flags))
    return fd


def test_from_fd(namespace: Namespace) -> None:
    """A TUN that somebody else made is used through a duplicate, which is made not to block."""
    fd = attached(namespace, IFF_TUN | IFF_NO_PI)
    descriptors = open_descriptors()
    with TunDevice.from_fd(fd) as tun:
        assert tun.name == "tun0"
        assert tun.fd != fd
        assert tun.read_batch(PacketBatch(1)) == 0
        namespace.up("tun0", "100.64.0.1/24")
        with user(namespace) as sender:
            sender.sendto(b"abc", ("100.64.0.2", 9))
            packet = tun.read(timeout_s=20)
            while packet[0] >> 4 != 4:  # past what IPv6 says by itself
                packet = tun.read(timeout_s=20)
        assert packet[28:] == b"abc"
    assert open_descriptors() == descriptors
    assert "tun0" in namespace.ip("link")
    os.close(fd)
    assert "tun0" not in namespace.ip("link")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (IFF_TAP | IFF_NO_PI, "TAP"),
        (IFF_TUN, "packet information"),
        (IFF_TUN | IFF_VNET_HDR, "packet information"),
    ],
    ids=["tap", "with packet information", "with both"],
)
def test_from_fd_of_another_kind(namespace: Namespace, flags: int, text: str) -> None:
    """A TAP, or a TUN whose packets have something in front, is refused by name."""
    fd = attached(namespace, flags)
    descriptors = open_descriptors()
    with namespace.entered(), pytest.raises(ValueError, match=rf"fd {fd} .*{text}"):
        TunDevice.from_fd(fd)
    assert open_descriptors() == descriptors
    os.close(fd)


def test_from_fd_without_an_interface() -> None:
    """A descriptor of /dev/net/tun that was not attached yet is refused."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    with pytest.raises(ValueError, match=f"fd {fd} is not a TUN, or has no interface"):
        TunDevice.from_fd(fd)
    os.close(fd)


def test_sharing_a_meter(namespace: Namespace) -> None:
    """A device that shares its meter is not extracted alone; the last one of a meter is."""
    with namespace.entered(), Meter() as meter:
        tun = TunDevice.open("tun0", meter=meter)
        assert len(tun.extract_statistics()) == 0
        with SockDevice.bind("127.0.0.1", 0, meter=meter) as sock:
            for device in (tun, sock):
                with pytest.raises(StateError, match="shares its meter"):
                    device.extract_statistics()
        assert len(tun.extract_statistics()) == 0
        tun.close()


AS_NOBODY = """
import os, sys
from netlog import DeviceError, TunDevice
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    TunDevice.open("tun0")
except DeviceError as error:
    print(error.errno, error)
    sys.exit(7)
"""


def test_without_rights(namespace: Namespace) -> None:
    """Who may not make a TUN is told what to do; the error is EPERM or EACCES."""
    with namespace.entered():
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 7, done.stderr
    code, _, text = done.stdout.partition(" ")
    assert int(code) in {errno.EPERM, errno.EACCES}
    assert "run as root" in text
    assert "ip tuntap add" in text
