"""The preload library, call by call: small programs with a TUN and sockets, and what was counted.

Each program uses a datagram socket (`tun.user`) to make packets, whose datagrams are counted as
those of any socket: the expected numbers have them.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import Totals, taken
from namespace import Namespace, wait_for

from netlog import Meter
from netlog.preload import library_path, preload_environment
from netlog.preload_meter import has_writers, read_aside

pytestmark = pytest.mark.root

SYSTEM = Path(__file__).parent
PROLOGUE = """
import ctypes, errno, fcntl, os, signal, socket, struct, subprocess, sys, tempfile
import threading
from tun_user import *
libc = ctypes.CDLL(None, use_errno=True)
"""


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    """A meter that programs count into."""
    with Meter.create(tmp_path / "run" / "meter", 256, max_lanes=3) as made:
        yield made


def run(
    meter: Meter, program: str, *, ports: tuple[int, ...] = (), excluded: tuple[str, ...] = ()
) -> None:
    """Run a Python program with the library, in a namespace of its own, to its end."""
    environment = preload_environment(os.environ, library_path(), str(meter.path), ports, excluded)
    environment["PYTHONPATH"] = str(SYSTEM)
    with Namespace() as namespace, namespace.entered():
        done = subprocess.run(
            (sys.executable, "-c", PROLOGUE + textwrap.dedent(program)),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: not has_writers(str(meter.path)), "its last process has ended")


def ran(meter: Meter, program: str, *, ports: tuple[int, ...] = ()) -> tuple[Totals, Totals]:
    """The same, and what was counted: the TUN's totals and the sockets'."""
    run(meter, program, ports=ports)
    return taken(meter)


def test_reads_and_writes(meter: Meter) -> None:
    """A read is tx, a write is rx; what failed or gave nothing is not counted; errno stays."""
    tun, sock = ran(
        meter,
        """
        tun = Tun()
        tun.incoming(10); assert len(tun.read()) == 38
        tun.write(packet(20)); tun.write(packet(30))
        os.set_blocking(tun.fd, False)
        try: tun.read()
        except BlockingIOError as error: assert error.errno == errno.EAGAIN
        else: raise AssertionError
        try: tun.write(b"")
        except OSError as error: assert error.errno == errno.EINVAL
        ctypes.set_errno(77)
        tun.incoming(11)
        assert libc.read(tun.fd, ctypes.create_string_buffer(100), 100) == 39
        assert ctypes.get_errno() == 77
        """,
    )
    assert tun == (2, 38 + 39, 2, 48 + 58)
    assert sock == (2, 10 + 11, 0, 0)


def test_vectors(meter: Meter) -> None:
    """Reading and writing a packet in pieces."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        tun.incoming(100)
        pieces = [bytearray(7), bytearray(20), bytearray(500)]
        assert os.readv(tun.fd, pieces) == 128
        data = packet(1200)
        assert os.writev(tun.fd, [data[:3], data[3:25], data[25:]]) == 1228
        """,
    )
    assert tun == (1, 128, 1, 1228)


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


def test_descriptors_come_and_go(meter: Meter) -> None:
    """A number that was a TUN's is another file's later; copies are what their original is."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        for copy in (os.dup(tun.fd), os.dup2(tun.fd, 200), fcntl.fcntl(tun.fd, fcntl.F_DUPFD, 300),
                     fcntl.fcntl(tun.fd, fcntl.F_DUPFD_CLOEXEC, 400)):
            os.write(copy, packet(10))
            os.close(copy)
        os.close(tun.fd)
        null = os.open("/dev/null", os.O_WRONLY)
        assert null == tun.fd
        os.write(null, packet(10))
        os.close(null)
        again = Tun()
        assert again.fd == tun.fd
        os.write(again.fd, packet(10))
        os.dup2(os.open("/dev/null", os.O_WRONLY), again.fd)
        os.write(again.fd, packet(10))
        """,
    )
    assert tun == (0, 0, 5, 5 * 38)


def test_closing_everything(meter: Meter) -> None:
    """Who closes all descriptors at the start does not close the meter's; a later one is not it."""
    tun, _ = ran(
        meter,
        """
        for fd in range(3, 2000):
            try: os.close(fd)
            except OSError: pass
        os.closerange(3, 2000)
        libc.closefrom(3)
        tun = Tun()
        tun.write(packet(10))
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(900, 1024): os.dup2(null, fd)
        thread = threading.Thread(target=lambda: tun.write(packet(10)))
        thread.start(); thread.join()
        """,
    )
    assert tun == (0, 0, 2, 2 * 38)


def test_forks(meter: Meter) -> None:
    """Parent and child count both; a child that closes its copies leaves the parent's alone."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        tun.write(packet(10))
        if not os.fork():
            tun.write(packet(20))
            os._exit(0)
        os.wait()
        tun.write(packet(30))
        if not os.fork():
            os.closerange(3, 100)
            os.execvp("true", ["true"])
        os.wait()
        subprocess.run(["true"], close_fds=True)
        tun.write(packet(40))
        """,
    )
    assert tun == (0, 0, 4, 4 * 28 + 100)


def test_daemons_go_on_counting(meter: Meter) -> None:
    """A child whose parent ends has a lane of its own; the parent's is free again."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        reader, writer = os.pipe()
        for generation in range(5):
            tun.write(packet(10))
            if os.fork():
                os.read(reader, 1) if not generation else None
                os._exit(0)
        tun.write(packet(20))
        os.write(writer, b"x")
        """,
    )
    assert tun == (0, 0, 6, 5 * 38 + 48)


def test_rights_given_up(meter: Meter) -> None:
    """Another root and user change nothing; a thread that begins then has a lane."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        os.chroot(tempfile.mkdtemp()); os.chdir("/")
        libc.setgid(65534); libc.setuid(65534)
        thread = threading.Thread(target=lambda: tun.write(packet(10)))
        thread.start(); thread.join()
        tun.write(packet(10))
        """,
    )
    assert tun == (0, 0, 2, 2 * 38)


def test_more_threads_than_lanes(meter: Meter) -> None:
    """A thread that ends gives its lane back; one without a lane counts without connections."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        def run(work):
            thread = threading.Thread(target=work)
            thread.start()
            return thread
        for _ in range(10): run(lambda: tun.write(packet(10))).join()
        barrier = threading.Barrier(4)
        def together():
            tun.write(packet(10))
            barrier.wait()
        for thread in [run(together) for _ in range(4)]: thread.join()
        """,
    )
    aside = read_aside(meter)
    assert (aside.laneless_packets, aside.laneless_bytes) == (2, 2 * 38)
    assert tun == (0, 0, 14, 14 * 38)


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
        class Vector(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]
        class Message(ctypes.Structure):
            _fields_ = [("name", ctypes.c_void_p), ("name_bytes", ctypes.c_uint32),
                        ("vectors", ctypes.POINTER(Vector)), ("n", ctypes.c_size_t),
                        ("control", ctypes.c_void_p), ("control_bytes", ctypes.c_size_t),
                        ("flags", ctypes.c_int), ("pad", ctypes.c_int),
                        ("length", ctypes.c_uint)]
        def messages(sizes):
            found = (Message * len(sizes))()
            for message, size in zip(found, sizes):
                room = ctypes.create_string_buffer(size)
                message.vectors = ctypes.pointer(Vector(ctypes.addressof(room), size))
                message.n, message.room = 1, room
                kept.append(room)
            return found
        kept = []
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        assert libc.sendmmsg(a.fileno(), messages([100] * 70), 70, 0) == 70
        assert libc.recvmmsg(b.fileno(), messages([200] * 80), 80, socket.MSG_DONTWAIT, None) == 70
        """,
    )
    assert sock == (70, 7000, 70, 7000)


def test_segments(meter: Meter) -> None:
    """UDP_SEGMENT: one call, and as many datagrams as it makes."""
    _, sock = ran(
        meter,
        """
        tun = Tun()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        b.bind(("127.0.0.1", 2222)); a.connect(("127.0.0.1", 2222))
        a.sendmsg([bytes(2500)], [(17, 103, struct.pack("=H", 1000))])
        a.setsockopt(17, 103, 500)
        a.send(bytes(1000))
        """,
    )
    assert sock == (3 + 2, 3500, 0, 0)


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


def test_a_fork_that_can_not_open_the_meter_counts(meter: Meter) -> None:
    """Without /proc a fork has no lane: what it moves has no connection, and its parent's is right."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        os.chroot(tempfile.mkdtemp())
        if not os.fork():
            tun.write(packet(10))
            os._exit(0)
        os.wait()
        tun.write(packet(20))
        """,
    )
    assert tun == (0, 0, 2, 38 + 48)
    assert read_aside(meter).laneless_packets == 1


def test_programs_without_a_tun_count_nothing(meter: Meter) -> None:
    """Nor do those that a program with one starts."""
    _, sock = ran(
        meter,
        """
        if len(sys.argv) == 1:
            tun = Tun()
            subprocess.run([sys.executable, "-c", "import sys; sys.argv.append('x')\\n" + '''
        import socket
        a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        a.sendto(b"1", ("127.0.0.1", 9))
        '''.replace("        ", "")], check=True)
        """,
    )
    assert sock == (0, 0, 0, 0)
    assert read_aside(meter).tuns == 1


def test_inherited_tun(meter: Meter) -> None:
    """A TUN that was there when the program began is one."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        os.set_inheritable(tun.fd, True)
        again = "import os, sys; from tun_user import *; os.write(int(sys.argv[1]), packet(10))"
        os.execv(sys.executable, [sys.executable, "-c", again, str(tun.fd)])
        """,
    )
    assert tun == (0, 0, 1, 38)
