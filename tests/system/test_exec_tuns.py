"""The preload library: each kind of TUN and TAP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog import Meter
from tests.support.gateways import taken
from tests.system.hooked import ran, run

pytestmark = pytest.mark.root


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    """A meter that programs count into."""
    with Meter.create(tmp_path / "run" / "meter", 256, max_lanes=3) as made:
        yield made


@pytest.mark.parametrize(
    ("flags", "header"),
    [
        pytest.param("IFF_TUN", "struct.pack('!HH', 0, 0x800)", id="packet-information"),
        pytest.param("IFF_TUN | IFF_NO_PI | IFF_VNET_HDR", "bytes(10)", id="virtio"),
        pytest.param(
            "IFF_TUN | IFF_VNET_HDR", "struct.pack('!HH', 0, 0x800) + bytes(10)", id="both"
        ),
    ],
)
def test_headers_are_no_part_of_a_packet(meter: Meter, flags: str, header: str) -> None:
    """What only the descriptor has before a packet is skipped."""
    tun, _ = ran(
        meter,
        f"""
        tun = Tun({flags})
        tun.incoming(10); tun.read()
        tun.write({header} + packet(20))
        """,
    )
    assert tun == (1, 38, 1, 48)


def test_super_packets_count_as_their_segments(meter: Meter) -> None:
    """A write of 3000 bytes of UDP payload in segments of 1000 is three packets."""
    tun, _ = ran(
        meter,
        """
        tun = Tun(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        header = struct.pack("=BBHHHH", 1, 5, 28, 1000, 20, 6)
        tun.write(header + packet(3000))
        """,
    )
    assert tun == (0, 0, 3, 3 * 1028)


def test_tap(meter: Meter) -> None:
    """Of Ethernet frames the IP packets are counted, with VLAN tags too; others without a flow."""
    run(
        meter,
        """
        tun = Tun(IFF_TAP | IFF_NO_PI)
        tun.incoming(10); assert len(tun.read()) == 52
        ethernet = bytes(12)
        tun.write(ethernet + b"\\x08\\x00" + packet(20))
        tun.write(ethernet + b"\\x81\\x00\\x00\\x05\\x08\\x00" + packet(30))
        tun.write(ethernet + b"\\x08\\x06" + b"\\x45" + bytes(27))
        """,
    )
    snapshot = meter.snapshot()
    meter.clear()
    assert int(snapshot.tun["rx_packets"].sum()) == 2
    assert int(snapshot.tun["rx_bytes"].sum()) == 48 + 58
    assert int(snapshot.tun["tx_bytes"].sum()) == 38
    assert snapshot.tun_unattributed.by_reason["not_ip"][2:] == (1, 28)


def test_inherited_tun(meter: Meter) -> None:
    """A TUN that was there when the program began is one."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        os.set_inheritable(tun.fd, True)
        again = "from tests.system.tun_user import *; os.write(int(sys.argv[1]), packet(10))"
        again = f"import os, sys; {again}"
        os.execv(sys.executable, [sys.executable, "-c", again, str(tun.fd)])
        """,
    )
    assert tun == (0, 0, 1, 38)


def test_tun_from_another_process(meter: Meter) -> None:
    """A TUN and a socket that came over a unix socket are what they are; so is what came before."""
    tun, sock = ran(
        meter,
        """
        here, there = socket.socketpair()
        tun = Tun()
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if not os.fork():
            socket.send_fds(there, [b"x"], [tun.fd, other.fileno()])
            os._exit(0)
        os.wait()
        os.close(tun.fd); other.close()
        _, (fd, number), _, _ = socket.recv_fds(here, 10, 5)
        os.write(fd, packet(10))
        again = socket.socket(fileno=number)
        again.sendto(b"12", ("127.0.0.1", 9))
        """,
    )
    assert tun == (0, 0, 1, 38)
    assert sock == (1, 2, 0, 0)


def test_queues(meter: Meter) -> None:
    """A TUN with queues, each with a thread of its own that reads and writes."""
    program = """
        flags = IFF_TUN | IFF_NO_PI | 0x100
        tun = Tun(flags)
        queues = [tun.fd]
        for _ in range(2):
            queues.append(os.open("/dev/net/tun", os.O_RDWR))
            fcntl.ioctl(queues[-1], TUNSETIFF, struct.pack("16sH22x", b"tun0", flags))
        for fd in queues: os.set_blocking(fd, False)
        for number in range(60):
            user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            user.bind(("100.64.0.1", 5000 + number))
            user.sendto(bytes(number), ("100.64.0.9", 9))
        read = [0] * 3
        def work(queue):
            while True:
                try: os.read(queues[queue], 2000)
                except BlockingIOError: break
                read[queue] += 1
            for size in range(50): os.write(queues[queue], packet(size))
        for queue in (1, 2):
            thread = threading.Thread(target=work, args=(queue,))
            thread.start(); thread.join()
        work(0)
        assert sum(read) == 60 and all(read), read
        os.close(queues[1])
        os.write(queues[2], packet(7))
    """
    tun, _ = ran(meter, program)
    tx_bytes, rx_bytes = sum(28 + n for n in range(60)), 3 * sum(28 + n for n in range(50)) + 35
    assert tun == (60, tx_bytes, 151, rx_bytes)


REFLECTOR = """
        tun = Tun(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(tun.fd, 0x400454D0, 1 | 2)  # TUNSETOFFLOAD: TUN_F_CSUM, TUN_F_TSO4
        seen = [0, 0, 0]
        def reflect():
            # What goes to 100.64.0.9 comes from there: both ends are this host's.
            while True:
                try: data = bytearray(os.read(tun.fd, 70000))
                except OSError: return
                header, ip = data[:10], data[10:]
                kind, length = header[1] & 0x7F, len(ip)
                (size,) = struct.unpack_from("=H", header, 4)
                headers = 20 + (ip[32] >> 4) * 4
                segments = -(-(length - headers) // size) if kind else 1
                seen[0] += 1; seen[1] += segments; seen[2] += length + (segments - 1) * headers
                ip[12:16], ip[16:20] = ip[16:20], ip[12:16]
                os.write(tun.fd, header + ip)
        threading.Thread(target=reflect, daemon=True).start()
        listening = socket.create_server(("100.64.0.1", 6000))
        a = socket.create_connection(("100.64.0.9", 6000), timeout=20)
        b, _ = listening.accept()
        sender = threading.Thread(target=lambda: (a.sendall(bytes(3 << 20)), a.shutdown(1)))
        sender.start()
        while b.recv(1 << 20): pass
        sender.join()
        b.close(); a.close()
        before = None
        while before != seen: before = list(seen); signal.sigtimedwait([], 0.3)
        print(*seen)
"""


def test_kernel_made_super_packets(meter: Meter) -> None:
    """TCP through a TUN with segmentation offload, back by the same way: the segments count."""
    output = run(meter, REFLECTOR, ports=(9,))
    reads, segments, size = map(int, output.split())
    tun, _ = taken(meter)
    assert tun == (segments, size, segments, size)
    assert segments > 2 * reads
