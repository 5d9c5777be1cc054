"""SockDevice over loopback, batches, endpoints, and what a TunDevice refuses without root."""

import contextlib
import errno
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from netlog import (
    ENDPOINT_DTYPE,
    DeviceError,
    Meter,
    PacketBatch,
    SockDevice,
    StateError,
    TunDevice,
)
from netlog._native import ffi
from netlog.devices.gate import Gate
from netlog.model.addresses import parse_address, split_endpoint
from netlog.model.endpoints import pack_endpoint, unpack_endpoint

UDP_SEGMENT, UDP_GRO = 103, 104


@pytest.fixture(
    name="pair",
    params=[("127.0.0.1", False), ("::1", False), ("127.0.0.1", True), ("::1", True)],
    ids=["ipv4", "ipv6", "ipv4-offload", "ipv6-offload"],
)
def _pair(request: pytest.FixtureRequest) -> Iterator[tuple[SockDevice, SockDevice]]:
    address, offload = request.param
    with (
        SockDevice.bind(address, 0, offload=offload) as left,
        SockDevice.bind(address, 0, offload=offload) as right,
    ):
        yield left, right


def counts(device: SockDevice) -> tuple[int, int, int, int]:
    """What a device counted since the last time: tx packets, tx bytes, rx packets, rx bytes."""
    rows = device.extract_statistics()
    names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    tx_packets, tx_bytes, rx_packets, rx_bytes = (int(rows[name].sum()) for name in names)
    return tx_packets, tx_bytes, rx_packets, rx_bytes


# -- endpoints and batches ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1:5820", "192.0.2.1", 5820),
        ("[2001:db8::1]:1", "2001:db8::1", 1),
        ("[::ffff:192.0.2.1]:65535", "192.0.2.1", 65535),
        ("[fe80::1%3]:9", "fe80::1%3", 9),
    ],
)
def test_endpoint_text(text: str, address: str, port: int) -> None:
    """An endpoint's text is read, packed, and read back; a mapped address is IPv4."""
    assert split_endpoint(text) == (parse_address(address), port)
    assert unpack_endpoint(pack_endpoint(*split_endpoint(text))) == (address, port)


@pytest.mark.parametrize(
    "text",
    ["", "192.0.2.1", "192.0.2.1:", ":9", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1",
     "2001:db8::1:9", "[192.0.2.1]:9", "[2001:db8::1]", "host:9", "192.0.2.1:٣", "[::1:9"],
)  # fmt: skip
def test_endpoint_text_refused(text: str) -> None:
    """What is no address and port is a ValueError that shows it."""
    with pytest.raises(ValueError, match="expected"):
        split_endpoint(text)


def test_endpoint_layout() -> None:
    """An endpoint's row is the core's struct, field by field."""
    struct = ffi.typeof("struct netlog_endpoint")
    assert ENDPOINT_DTYPE.itemsize == ffi.sizeof(struct) == 24
    row = np.frombuffer(pack_endpoint(*split_endpoint("[fe80::1%7]:258")), ENDPOINT_DTYPE)[0]
    assert bytes(row["address"]) == bytes.fromhex("fe80000000000000 0000000000000001")
    assert (row["port"], row["version"], row["reserved"], row["scope_id"]) == (258, 6, 0, 7)


def test_endpoint_of_no_interface() -> None:
    """A link-local endpoint on an interface that there is not is a ValueError."""
    with pytest.raises(ValueError, match="no such interface: 'nowhere0'"):
        pack_endpoint(*split_endpoint("[fe80::1%nowhere0]:9"))


@pytest.mark.parametrize("packet_bytes", [1, 64, 1500, 4096, 4095, 8192, 65535])
def test_batch_slots(packet_bytes: int) -> None:
    """Slots hold a packet, begin at a cache line, and are no multiple of a page apart."""
    batch = PacketBatch(3, packet_bytes)
    slot_bytes = batch.data.shape[1]
    assert slot_bytes >= packet_bytes
    assert slot_bytes % 64 == 0
    assert slot_bytes % 4096 != 0
    batch.put(2, bytes([7]) * packet_bytes)
    assert bytes(batch.packet(2)) == bytes([7]) * packet_bytes
    assert len(batch) == len(batch.lengths) == len(batch.endpoints) == 3
    with pytest.raises(ValueError, match="does not fit"):
        batch.put(0, bytes(packet_bytes + 1))


@pytest.mark.parametrize(("max_packets", "packet_bytes"), [(0, 1), (-1, 1), (1, 0), (1, 65536)])
def test_batch_bounds(max_packets: int, packet_bytes: int) -> None:
    """A batch of no slots, or of slots of an impossible size, is a ValueError."""
    with pytest.raises(ValueError, match="expected"):
        PacketBatch(max_packets, packet_bytes)


# -- SockDevice -----------------------------------------------------------------------------------


def test_sent_is_received_and_counted(pair: tuple[SockDevice, SockDevice]) -> None:
    """Datagrams arrive whole, from 0 bytes on, and count at both ends under the remote endpoint."""
    left, right = pair
    for length in (0, 1, 1400, 65507):
        left.sendto(bytes([length % 251]) * length, right.address)
        payload, remote = right.recvfrom(20)
        assert (payload, remote) == (bytes([length % 251]) * length, left.address)
    rows = left.extract_statistics()
    assert len(rows) == 1
    family = 4 if ":" not in left.address[0] else 6
    assert (rows["version"][0], rows["proto"][0], rows["dst_port"][0]) == (
        family,
        0,
        right.address[1],
    )
    sent = (4, 1 + 1400 + 65507, 0, 0)
    assert tuple(int(rows[0][name]) for name in ("tx_packets", "tx_bytes")) == sent[:2]
    assert counts(right) == (0, 0, 4, 1 + 1400 + 65507)
    assert counts(left) == counts(right) == (0, 0, 0, 0)


def test_batches(pair: tuple[SockDevice, SockDevice]) -> None:
    """More than a kernel call takes is sent and received in one call, in order."""
    left, right = pair
    out, into = PacketBatch(200, 2000), PacketBatch(150, 2000)
    for slot in range(200):
        out.put(slot, slot.to_bytes(2, "big") * (slot + 1), right.address)
    assert left.send_batch(out, 200) == 200
    seen: list[int] = []
    while len(seen) < 200:
        assert right.recv_batch(into, timeout_s=20) == into.count > 0
        for slot in range(into.count):
            number = int.from_bytes(into.packet(slot)[:2], "big")
            assert len(into.packet(slot)) == 2 * (number + 1)
            assert unpack_endpoint(into.endpoints[slot].tobytes()) == left.address
            seen.append(number)
    assert seen == list(range(200))
    assert right.recv_batch(into) == into.count == 0
    assert counts(left) == (200, 200 * 201, 0, 0)
    assert counts(right) == (0, 0, 200, 200 * 201)


def test_partly_refused_batch(pair: tuple[SockDevice, SockDevice]) -> None:
    """A datagram that cannot be sent is skipped and reported; those around it go and count."""
    left, right = pair
    batch = PacketBatch(5)
    for slot, length in enumerate((10, 65535, 20, 65530, 30)):
        batch.put(slot, bytes(length), right.address)
    assert left.send_batch(batch, 5) == 3
    assert [len(right.recvfrom(20)[0]) for _ in range(3)] == [10, 20, 30]
    assert counts(left) == (3, 60, 0, 0)
    refusals = left.refusals
    assert (refusals.packets, refusals.bytes) == (2, 65535 + 65530)
    assert refusals.errno == errno.EMSGSIZE
    assert refusals.queue_full_packets == 0
    with pytest.raises(DeviceError) as error:
        left.sendto(bytes(65535), right.address)
    assert error.value.errno == errno.EMSGSIZE
    assert left.refusals.packets == 3
    assert counts(left) == (0, 0, 0, 0)


def test_slots_too_short(pair: tuple[SockDevice, SockDevice]) -> None:
    """A datagram longer than its slot says so, and counts with its own length."""
    left, right = pair
    batch = PacketBatch(2, packet_bytes=8)
    left.sendto(b"0123456789", right.address)
    left.sendto(b"abc", right.address)
    deadline_s = time.monotonic() + 20
    got: list[tuple[int, bytes]] = []
    while len(got) < 2 and time.monotonic() < deadline_s:
        right.recv_batch(batch, timeout_s=20)
        got += [(int(batch.lengths[i]), bytes(batch.packet(i))) for i in range(batch.count)]
    assert got == [(10, b"01234567"), (3, b"abc")]
    assert counts(right) == (0, 0, 2, 13)


def test_batch_arguments(pair: tuple[SockDevice, SockDevice]) -> None:
    """More datagrams than slots, or longer than slots, are a ValueError before any is sent."""
    left, right = pair
    batch = PacketBatch(2, 100)
    batch.put(0, b"abc", right.address)
    batch.lengths[1] = 101
    for count in (-1, 3):
        with pytest.raises(ValueError, match="count"):
            left.send_batch(batch, count)
    with pytest.raises(ValueError, match=r"lengths\[1\]"):
        left.send_batch(batch, 2)
    assert counts(left) == (0, 0, 0, 0)
    assert right.recv_batch(batch) == 0


def test_mapped_remote_is_ipv4() -> None:
    """An IPv4 remote of an IPv6 socket is an IPv4 endpoint, in both directions."""
    with SockDevice.bind("::", 0) as both, SockDevice.bind("127.0.0.1", 0) as four:
        four.sendto(b"abc", ("127.0.0.1", both.address[1]))
        payload, remote = both.recvfrom(20)
        assert (payload, remote) == (b"abc", four.address)
        both.sendto(b"defg", remote)
        assert four.recvfrom(20)[0] == b"defg"
        (row,) = both.extract_statistics()
        assert (row["version"], bytes(row["dst"])) == (4, parse_mapped("127.0.0.1"))
        assert (row["tx_packets"], row["tx_bytes"], row["rx_packets"], row["rx_bytes"]) == (
            1,
            4,
            1,
            3,
        )
        assert both.reaches(4)
        assert both.reaches(6)
        assert not four.reaches(6)


def parse_mapped(text: str) -> bytes:
    """An IPv4 address as a row has it."""
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def test_statistics_switch(pair: tuple[SockDevice, SockDevice]) -> None:
    """Disabled, a device moves datagrams uncounted; enabled, it counts again."""
    left, right = pair
    for enabled in (False, True, False, True):
        left.set_statistics_enabled(enabled)
        right.set_statistics_enabled(enabled)
        left.sendto(b"abc", right.address)
        assert right.recvfrom(20)[0] == b"abc"
        assert counts(left) == ((1, 3, 0, 0) if enabled else (0, 0, 0, 0))
        assert counts(right) == ((0, 0, 1, 3) if enabled else (0, 0, 0, 0))


def test_port_unreachable_fails_no_call() -> None:
    """The ICMP error that a closed port sends back fails neither the next send nor a receive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        with SockDevice.bind("127.0.0.1", 0) as gone:
            closed_port = gone.address
        plain.connect(closed_port)  # a connected socket gets such errors
        with SockDevice.from_socket(plain) as device:
            for _ in range(20):
                device.sendto(b"abc", closed_port)
            assert device.recv_batch(PacketBatch(1), timeout_s=0.01) == 0
            assert device.refusals.packets == 0
            assert counts(device) == (20, 60, 0, 0)


def test_bind_errors() -> None:
    """Wrong arguments are ValueErrors; a port in use and a foreign address name the endpoint."""
    for address, port in (("localhost", 1), ("", 1), ("192.0.2.256", 1), ("127.0.0.1", 65536)):
        with pytest.raises(ValueError, match="expected"):
            SockDevice.bind(address, port)
    with pytest.raises(ValueError, match="expected"):
        SockDevice.bind("127.0.0.1", -1)
    with SockDevice.bind("127.0.0.1", 0) as first:
        name = f"127.0.0.1:{first.address[1]}"
        with pytest.raises(DeviceError, match=name) as error:
            SockDevice.bind(*first.address)
        assert error.value.errno == errno.EADDRINUSE
    with pytest.raises(DeviceError, match=r"\[2001:db8::77\]:5820") as error:
        SockDevice.bind("2001:db8::77", 5820)
    assert error.value.errno == errno.EADDRNOTAVAIL


def test_buffers() -> None:
    """A bound socket asks for more than the default, and says what it got."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        default = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    with SockDevice.bind("127.0.0.1", 0) as device:
        assert device.receive_buffer_bytes >= default
        assert device.send_buffer_bytes >= default


def test_from_socket_refuses_other_kinds() -> None:
    """What is no plain UDP socket over IP is refused, and left as it was."""
    makers: list[Callable[[], socket.socket]] = [
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    ]
    for make in makers:
        with make() as other:
            with pytest.raises(ValueError, match="expected a UDP socket"):
                SockDevice.from_socket(other)
            assert other.fileno() >= 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cutting:
        cutting.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        with pytest.raises(ValueError, match=r"UDP_SEGMENT set: .* pieces of 1000 bytes"):
            SockDevice.from_socket(cutting)
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    with pytest.raises(DeviceError) as error:
        SockDevice.from_socket(closed)
    assert error.value.errno == errno.EBADF


def test_from_socket_leaves_the_callers_own() -> None:
    """The device closes its duplicate only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        with SockDevice.from_socket(plain) as device:
            assert device.address == plain.getsockname()
            assert device.fd != plain.fileno()
        plain.sendto(b"abc", plain.getsockname())
        assert plain.recv(10) == b"abc"


# -- life -----------------------------------------------------------------------------------------


def test_closed_device() -> None:
    """Closing twice is fine, every later call is a StateError that names the device."""
    device = SockDevice.bind("127.0.0.1", 0)
    name = f"udp 127.0.0.1:{device.address[1]} is closed"
    device.close()
    device.close()
    assert device.closed
    assert device.fd == -1
    batch = PacketBatch(1)
    batch.put(0, b"abc", ("127.0.0.1", 9))
    for call in (
        lambda: device.sendto(b"abc", ("127.0.0.1", 9)),
        lambda: device.send_batch(batch, 1),
        lambda: device.recv_batch(batch),
        lambda: device.recvfrom(0),
        lambda: device.set_statistics_enabled(enabled=True),
        device.extract_statistics,
    ):
        with pytest.raises(StateError, match=name):
            call()


def test_closing_leaks_nothing_and_closes_once() -> None:
    """Open and close leaves no descriptor, and a number that is used again is let alone."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - the names are compared
    for _ in range(20):
        device = SockDevice.bind("127.0.0.1", 0)
        device.sendto(b"abc", device.address)
        device.close()
        reused = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
        device.close()
        del device
        for fd in reused:
            os.close(fd)  # EBADF if somebody else had closed it
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above


def test_forgotten_device_warns() -> None:
    """A device that is not closed says so when it is collected, and closes."""
    device = SockDevice.bind("127.0.0.1", 0)
    port = device.address[1]
    del device
    with pytest.warns(ResourceWarning, match="was not closed"):
        gc.collect()
    SockDevice.bind("127.0.0.1", port).close()


def test_close_wakes_all_who_wait() -> None:
    """Readers that wait, however many, end with StateError when the device is closed."""
    device = SockDevice.bind("127.0.0.1", 0)
    ended = []

    def read() -> None:
        with contextlib.suppress(StateError):
            device.recvfrom()
        ended.append(threading.get_ident())

    readers = [threading.Thread(target=read) for _ in range(5)]
    for reader in readers:
        reader.start()
    device.close()
    for reader in readers:
        reader.join()
    assert len(ended) == 5


def test_writers_do_not_wait_for_readers() -> None:
    """While one thread waits for datagrams, another one sends."""
    with SockDevice.bind("127.0.0.1", 0) as device, SockDevice.bind("127.0.0.1", 0) as other:
        got = []
        reader = threading.Thread(target=lambda: got.append(device.recvfrom(20)))
        reader.start()
        for _ in range(100):
            device.sendto(b"abc", other.address)
        other.sendto(b"end", device.address)
        reader.join()
        assert got == [(b"end", other.address)]
        assert counts(device) == (100, 300, 1, 3)


def test_many_threads_on_one_device() -> None:
    """Several senders and receivers on one device: each datagram arrives and counts once."""
    with SockDevice.bind("127.0.0.1", 0) as left, SockDevice.bind("127.0.0.1", 0) as right:
        seen: list[list[bytes]] = [[] for _ in range(3)]

        def send(number: int) -> None:
            for i in range(300):
                left.sendto(b"%d/%d" % (number, i), right.address)

        def receive(into: list[bytes]) -> None:
            with contextlib.suppress(StateError, TimeoutError):
                while True:
                    into.append(right.recvfrom(0.5)[0])

        threads = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        threads += [threading.Thread(target=receive, args=(into,)) for into in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everything = sorted(seen[0] + seen[1] + seen[2])
        assert everything == sorted(b"%d/%d" % (n, i) for n in range(3) for i in range(300))
        sent_bytes = sum(map(len, everything))
        assert counts(left) == (900, sent_bytes, 0, 0)
        assert counts(right) == (0, 0, 900, sent_bytes)


def test_close_from_a_signal_handler() -> None:
    """A handler may close the device whose read it interrupts: the read ends with StateError."""
    device = SockDevice.bind("127.0.0.1", 0)
    fd = device.fd
    before = signal.signal(signal.SIGALRM, lambda *_: device.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(StateError, match="is closed"):
            device.recvfrom(20)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert device.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_gate_frees_once_and_after_the_last() -> None:
    """What a gate guards is freed once, when it is closed and nobody is inside any more."""
    freed: list[int] = []
    gate = Gate("it", lambda: freed.append(1))
    gate.enter(-1)
    closer = threading.Thread(target=gate.close)
    closer.start()
    while not gate.closed:
        time.sleep(0.001)
    assert freed == []
    with pytest.raises(StateError, match="it is closed"):
        gate.enter(-2)
    assert freed == []
    gate.leave(-1)
    closer.join()
    gate.close()
    assert freed == [1]


def test_a_meter_outlives_the_device_that_was_given_it() -> None:
    """A device closes its own meter, and only gives its lanes back to somebody else's."""
    with Meter() as meter:
        with SockDevice.bind("127.0.0.1", 0, meter=meter) as device:
            device.sendto(b"abc", device.address)
            device.recvfrom(20)
            with pytest.raises(StateError, match="close the devices"):
                meter.close()
        snapshot = meter.snapshot()
        assert snapshot.sock["tx_bytes"].sum() == 3
        meter.clear()
    own = SockDevice.bind("127.0.0.1", 0)
    own.close()
    assert own.meter.closed


# -- TunDevice, as far as it gets without root ----------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a" * 16, "ä" * 8, "a/b", "a b", "a\tb", "a:b", ".", "..", "a\0b", "%d%d", "a%s", "%"]
)
def test_tun_name_refused(name: str) -> None:
    """A name that no interface can have is a ValueError before anything is opened."""
    with pytest.raises(ValueError, match="name"):
        TunDevice.open(name)


@pytest.mark.parametrize("mtu", [0, 67, 65536, -1])
def test_tun_mtu_refused(mtu: int) -> None:
    """An MTU that no interface can have is a ValueError before anything is opened."""
    with pytest.raises(ValueError, match="mtu"):
        TunDevice.open("tun0", mtu=mtu)


def test_fd_that_is_no_tun() -> None:
    """A descriptor of something else is refused by its number, and left open."""
    for fd in (os.open("/dev/null", os.O_RDWR), os.eventfd(0)):
        with pytest.raises(ValueError, match=f"fd {fd} is not a TUN"):
            TunDevice.from_fd(fd)
        os.close(fd)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:  # noqa: SIM117 - one thing each
        with pytest.raises(ValueError, match="is not a TUN"):
            TunDevice.from_fd(other.fileno())
    with pytest.raises(DeviceError, match="fd 99999") as error:
        TunDevice.from_fd(99999)
    assert error.value.errno == errno.EBADF
