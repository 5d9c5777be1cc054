"""The preload library, call by call: descriptors, forks, threads, and what was counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog import Meter
from netlog.preload.meter import read_aside
from tests.system.hooked import ran

pytestmark = pytest.mark.root


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    """A meter that programs count into."""
    with Meter.create(tmp_path / "run" / "meter", 256, max_lanes=3) as made:
        yield made


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


def test_descriptors_come_and_go(meter: Meter) -> None:
    """A number that was a TUN's is another file's later; copies are what their original is."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        for copy in (os.dup(tun.fd), os.dup2(tun.fd, 200),
                     os.dup2(tun.fd, 201, inheritable=False),
                     fcntl.fcntl(tun.fd, fcntl.F_DUPFD, 300),
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
    assert tun == (0, 0, 6, 6 * 38)


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


def test_a_fork_that_nobody_is_told_of(meter: Meter) -> None:
    """One that runs no handlers does not count into its parent's lane: here there is no other."""
    tun, _ = ran(
        meter,
        """
        tun = Tun()
        tun.write(packet(10))
        barrier = threading.Barrier(3)
        def hold():
            tun.write(packet(20))
            barrier.wait(); barrier.wait()
        threads = [threading.Thread(target=hold) for _ in range(2)]
        for thread in threads: thread.start()
        barrier.wait()
        data = packet(10)
        # The interpreter's lock stays with this thread, as the others are not in the child.
        libc = ctypes.PyDLL(None)
        child = libc._Fork()
        if not child:
            libc.write(tun.fd, data, len(data))
            libc._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        tun.write(packet(10))
        barrier.wait()
        for thread in threads: thread.join()
        """,
    )
    assert tun == (0, 0, 5, 3 * 38 + 2 * 48)
    assert read_aside(meter).laneless_packets == 1


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
        for _ in range(10):
            run(lambda: tun.write(packet(10))).join()
            # Python joins a thread that still has its destructors, and so its lane, before it.
            while len(os.listdir("/proc/self/task")) > 1: time.sleep(0.001)
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


def test_a_fork_that_can_not_open_the_meter_counts(meter: Meter) -> None:
    """Without /proc a fork has no lane: what it moves has no connection; its parent's is right."""
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
