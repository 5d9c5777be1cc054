"""The preload library: what crosses sockets, by each call."""

import subprocess
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


def test_datagrams(meter: Meter) -> None:
    """Each way to send and to receive, by remote endpoint; what was only looked at is not."""
    _, sock = ran(
        meter,
        """
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        a.bind(("127.0.0.1", 1111)); b.bind(("127.0.0.1", 2222))
        a.sendto(b"before", ("127.0.0.1", 2222)); b.recv(10)
        tun = Tun()
        there = ("127.0.0.1", 2222)
        a.sendto(b"1", there)
        a.sendmsg([b"1", b"2"], [], 0, there)
        a.connect(there); b.connect(("127.0.0.1", 1111))
        a.send(b"123"); os.write(a.fileno(), b"1234"); os.writev(a.fileno(), [b"12345"])
        a.send(b"")
        assert b.recv(10, socket.MSG_PEEK) == b"1"
        assert b.recvfrom(10)[0] == b"1"
        assert b.recvmsg(10)[0] == b"12"
        assert b.recv(10) == b"123"
        assert os.read(b.fileno(), 10) == b"1234"
        assert os.readv(b.fileno(), [bytearray(2), bytearray(8)]) == 5
        assert b.recv(10) == b""
        b.setblocking(False)
        try: b.recv(10)
        except BlockingIOError: pass
        a.setsockopt(0, 11, 1)  # IP_RECVERR
        try: a.recvmsg(10, 100, 0x2000 | 0x40)  # MSG_ERRQUEUE
        except BlockingIOError: pass
        """,
    )
    assert sock == (6, 15, 6, 15)


def test_batches(meter: Meter) -> None:
    """A sendmmsg and a recvmmsg count what went, by message."""
    _, sock = ran(
        meter,
        """
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        from tests.system.mmsg import messages
        assert libc.sendmmsg(a.fileno(), messages([100] * 70), 70, 0) == 70
        assert libc.recvmmsg(b.fileno(), messages([200] * 80), 80, socket.MSG_DONTWAIT, None) == 70
        """,
    )
    assert sock == (70, 7000, 70, 7000)


def test_segments(meter: Meter) -> None:
    """UDP_SEGMENT and UDP_GRO: one call, and as many datagrams as it stands for."""
    _, sock = ran(
        meter,
        """
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        cut = [(17, 103, struct.pack("=H", 1000))]
        a.sendmsg([bytes(2500)], cut)
        # A receiver that takes them one by one, and one that takes them as they come.
        for size in (1000, 1000, 500): assert len(b.recv(5000)) == size
        b.setsockopt(17, 104, 1)
        a.sendmsg([bytes(2500)], cut)
        data, control, _, _ = b.recvmsg(5000, 100)
        assert len(data) == 2500 and control == [(17, 104, struct.pack("=i", 1000))]
        # Of the socket, and of a message, which goes before.
        a.setsockopt(17, 103, 500)
        a.send(bytes(1000)); b.recvmsg(5000, 100)
        a.sendmsg([bytes(1000)], [(17, 103, struct.pack("=H", 250))]); b.recvmsg(5000, 100)
        a.setsockopt(17, 103, 0)
        a.send(bytes(1000)); b.recvmsg(5000, 100)
        """,
    )
    datagrams, size = 3 + 3 + 2 + 4 + 1, 2 * 2500 + 3 * 1000
    assert sock == (datagrams, size, datagrams, size)


def test_segments_in_batches(meter: Meter) -> None:
    """The same by sendmmsg and recvmmsg."""
    _, sock = ran(
        meter,
        """
        from tests.system.mmsg import messages
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        b.setsockopt(17, 104, 1)
        cut = struct.pack("=QiiH6x", 18, 17, 103, 400)
        assert libc.sendmmsg(a.fileno(), messages([1000, 400, 801], cut), 3, 0) == 3
        received = messages([5000] * 3, bytes(64))
        assert libc.recvmmsg(b.fileno(), received, 3, socket.MSG_DONTWAIT, None) == 3
        assert [message.length for message in received] == [1000, 400, 801]
        """,
    )
    assert sock == (3 + 1 + 3, 2201, 3 + 1 + 3, 2201)


def test_fortified_calls(meter: Meter, tmp_path: Path) -> None:
    """What a compiler makes of read, recv and recvfrom with _FORTIFY_SOURCE."""
    source, program = tmp_path / "fortified.c", tmp_path / "fortified"
    source.write_text(FORTIFIED)
    flags = "-O2", "-D_FORTIFY_SOURCE=2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"
    subprocess.run(("cc", *flags, "-o", program, source), check=True)
    imported = subprocess.run(("nm", "-D", program), check=True, capture_output=True, text=True)
    for name in ("__read_chk", "__recv_chk", "__recvfrom_chk"):
        assert name in imported.stdout
    tun, sock = ran(
        meter,
        f"""
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        for size in (10, 20): a.send(bytes(size))
        tun.incoming(30)
        for fd in (tun.fd, b.fileno()): os.set_inheritable(fd, True)
        os.execv({str(program)!r}, ["fortified", str(tun.fd), str(b.fileno()), "100"])
        """,
    )
    assert tun == (1, 58, 0, 0)
    assert sock == (3, 10 + 20 + 30, 2, 10 + 20)


FORTIFIED = """
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char data[128];
	int tun = atoi(argv[1]), sock = atoi(argv[2]);
	size_t n = (size_t)atoi(argv[3]);
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);

	return argc != 4 || read(tun, data, n) != 58 || recv(sock, data, n, 0) != 10 ||
		recvfrom(sock, data, n, 0, (struct sockaddr *)&from, &length) != 20;
}
"""


def endpoints(meter: Meter) -> dict[int, tuple[int, int]]:
    """Packets, tx and rx, by the remote's port; all writers rest."""
    rows = meter.snapshot(timeout_s=20).sock
    meter.clear()
    return {int(r["dst_port"]): (int(r["tx_packets"]), int(r["rx_packets"])) for r in rows}


def test_reconnecting(meter: Meter) -> None:
    """A socket that is connected again, or no more, counts under the peer of the moment."""
    run(
        meter,
        """
        tun = Tun()
        a, *others = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5))
        for port, other in enumerate(others, 11): other.bind(("127.0.0.1", port))
        a.connect(("127.0.0.1", 11)); a.send(b"1")
        a.connect(("127.0.0.1", 12)); os.write(a.fileno(), b"2"); os.write(a.fileno(), b"3")
        nobody = struct.pack("=H14x", socket.AF_UNSPEC)
        assert libc.connect(a.fileno(), nobody, len(nobody)) == 0
        a.sendto(b"4", ("127.0.0.1", 13))
        try: a.send(b"5")
        except OSError as error: assert error.errno == errno.EDESTADDRREQ
        a.connect(("127.0.0.1", 14)); a.send(b"6")
        # A failed connect leaves it as it was.
        try: a.connect(("255.255.255.255", 15))
        except OSError: pass
        a.send(b"7")
        """,
    )
    assert endpoints(meter) == {11: (1, 0), 12: (2, 0), 13: (1, 0), 14: (2, 0)}


def test_receiving_without_asking_who(meter: Meter) -> None:
    """recv, recvfrom and recvmsg without a name, on a socket that is not connected."""
    run(
        meter,
        """
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        a.bind(("127.0.0.1", 1111)); b.bind(("127.0.0.1", 2222))
        b.setsockopt(0, 8, 1)  # IP_PKTINFO
        for size in range(1, 6): a.sendto(bytes(size), ("127.0.0.1", 2222))
        data = ctypes.create_string_buffer(100)
        assert b.recv(10) == bytes(1)
        assert libc.recvfrom(b.fileno(), data, 100, 0, None, None) == 2
        from tests.system.mmsg import messages
        (message,) = messages([2], bytes(100))
        message.name_bytes = 77
        assert libc.recvmsg(b.fileno(), ctypes.byref(message), socket.MSG_TRUNC) == 3
        # The header says what the kernel said.
        assert message.flags == socket.MSG_TRUNC and message.control_bytes == 32
        assert message.name is None and message.name_bytes == 77
        b.setblocking(False)
        ctypes.set_errno(0)
        assert b.recv(10, socket.MSG_PEEK) == bytes(4)
        assert b.recvmsg(10)[0] == bytes(4)
        assert b.recv(10) == bytes(5)
        assert libc.recv(b.fileno(), data, 100, 0) == -1 and ctypes.get_errno() == errno.EAGAIN
        """,
    )
    assert endpoints(meter) == {2222: (5, 0), 1111: (0, 5)}


def test_streams(meter: Meter) -> None:
    """TCP: what was written and read, by the peer; its end is nothing."""
    _, sock = ran(
        meter,
        """
        tun = Tun()
        listening = socket.create_server(("127.0.0.1", 3333))
        a = socket.create_connection(("127.0.0.1", 3333))
        b, _ = listening.accept()
        a.sendall(bytes(100)); os.write(a.fileno(), bytes(50))
        received = 0
        while received < 150: received += len(b.recv(1000))
        a.close()
        assert b.recv(10) == b""
        """,
    )
    assert (sock[0], sock[1], sock[3]) == (2, 150, 150)


def test_chosen_ports(meter: Meter) -> None:
    """With ports chosen, the sockets that are bound or connected to one of them count."""
    _, sock = ran(
        meter,
        """
        tun = Tun()
        for port in (1111, 2222):
            a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
            b.bind(("127.0.0.1", port)); a.connect(("127.0.0.1", port))
            a.send(bytes(port)); b.recv(4000)
        """,
        ports=(2222,),
    )
    assert sock == (1, 2222, 1, 2222)


def test_excluded_peers(meter: Meter) -> None:
    """Sockets that are connected to an excluded prefix do not count; what is sent there may."""
    run(
        meter,
        """
        tun = Tun()
        for there in ("127.0.0.1", "127.8.0.1", "127.16.0.1"):
            a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            a.connect((there, 9))
            a.send(bytes(100))
        b = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        b.connect(("::ffff:127.8.0.2", 9))
        b.send(bytes(50))
        c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        c.sendto(bytes(1), ("127.8.0.1", 9))
        """,
        excluded=("127.8.0.0/13", "fd00::/8"),
    )
    assert taken(meter)[1] == (3, 201, 0, 0)
