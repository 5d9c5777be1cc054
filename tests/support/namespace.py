"""Anonymous network namespaces for the system tests.

A `Namespace` has no name and no holder process: it lives as long as a descriptor of it is open, so
a test that is killed leaves nothing behind. `entered()` moves the calling thread into it; whatever
the thread makes there (a socket, a TUN, a child process) stays there after the thread is back.

    with Namespace() as left, Namespace() as right:
        connect(left, "lan0", right, "lan0")
        left.ip("addr add 192.0.2.1/24 dev lan0")
        with left.entered():
            tun = TunDevice.open("tun0")
"""

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001

RTF_LOCAL = 0x80000000
"""linux/ipv6_route.h."""

WAIT_S = 20.0
"""How long a wait may last before the test is given up: a bound against hanging, no expectation."""
LOOK_S = (0.002, 0.02)
"""How long a wait pauses between two looks, at first and at most."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """The kernel's 64-bit counters of one interface, as the kernel sees it.

    For a TUN, tx is what the kernel handed to the reader of the descriptor, rx what was written.
    """

    tx_packets: int
    tx_bytes: int
    tx_dropped: int
    rx_packets: int
    rx_bytes: int
    rx_dropped: int


class Namespace:
    """A network namespace of its own, with its loopback up.

    Thread safety: any thread may enter; each has its own place to return to.
    """

    def __init__(self) -> None:
        with _returning():
            _call(_libc.unshare, CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ip("link set lo up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the namespace up; it is gone when the last socket and process in it are."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace until the block ends."""
        with _returning():
            _call(_libc.setns, self.fd, CLONE_NEWNET)
            yield

    def move_in(self) -> None:
        """Put the calling thread into the namespace for good, and what it starts from now on."""
        _call(_libc.setns, self.fd, CLONE_NEWNET)

    def run(self, *command: str, timeout_s: float = 60.0) -> str:
        """Run a command inside and return its standard output; a failure shows what it said."""
        with self.entered():
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 - Popen's own
        """Start a command inside; the caller ends it."""
        with self.entered():
            return subprocess.Popen(command, **options)

    def ip(self, arguments: str) -> str:
        """Run `ip`; arguments are split at white space."""
        return self.run("ip", *arguments.split())

    def sysctl(self, name: str, value: int) -> None:
        """Set a network setting, as in `sysctl("net/ipv6/conf/all/disable_ipv6", 1)`."""
        with self.entered():
            Path("/proc/sys", name).write_text(f"{value}\n")

    def up(self, interface: str, *addresses: str) -> None:
        """Give an interface addresses, usable at once (no duplicate detection), and set it up.

        Of a link, call `await_addresses` when its other end is up, too.
        """
        for address in addresses:
            nodad = " nodad" if ":" in address else ""
            self.ip(f"addr add {address} dev {interface}{nodad}")
        self.ip(f"link set {interface} up")
        if self.carries(interface):
            self.await_addresses(interface)

    def carries(self, interface: str) -> bool:
        """Whether an interface carries packets: it is up, and so is its other end."""
        return "LOWER_UP" in self.ip(f"link show dev {interface}")

    def await_addresses(self, interface: str) -> None:
        """Wait until packets for its IPv6 addresses are taken in.

        A kernel thread makes their local routes, some time after the interface carries packets.
        """

        def rows(table: str) -> list[list[str]]:
            with self.entered():
                text = Path("/proc/thread-self/net", table).read_text()
            return [row for row in map(str.split, text.splitlines()) if row[-1] == interface]

        def are_local() -> bool:
            local = {row[0] for row in rows("ipv6_route") if int(row[8], 16) & RTF_LOCAL}
            return local >= {row[0] for row in rows("if_inet6")}

        wait_for(are_local, f"the IPv6 addresses of {interface} are local")

    def quiet(self, interface: str) -> None:
        """Keep the kernel from talking IPv6 on an interface by itself; before it is set up."""
        self.ip(f"link set {interface} addrgenmode none")

    def counters(self, interface: str) -> LinkCounters:
        """Return the kernel's counters of an interface."""
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        (found,) = (line for line in lines if line.partition(":")[0].strip() == interface)
        # Bytes, packets, errors, dropped and four more of what was received, and the same of what
        # was sent (net/core/net-procfs.c).
        columns = [int(word) for word in found.partition(":")[2].split()]
        return LinkCounters(
            tx_packets=columns[9],
            tx_bytes=columns[8],
            tx_dropped=columns[11],
            rx_packets=columns[1],
            rx_bytes=columns[0],
            rx_dropped=columns[3],
        )

    def snmp(self) -> dict[str, int]:
        """IPv4 and IPv6 protocol counters: `UdpInDatagrams`, `UdpOutDatagrams`, `Udp6...`."""
        with self.entered():
            ipv4 = Path("/proc/thread-self/net/snmp").read_text().splitlines()
            ipv6 = Path("/proc/thread-self/net/snmp6").read_text().splitlines()
        found = {name: int(value) for name, value in (line.split() for line in ipv6)}
        for names, values in zip(ipv4[::2], ipv4[1::2], strict=True):
            table = names.partition(":")[0]
            pairs = zip(names.split()[1:], values.split()[1:], strict=True)
            found.update({table + name: int(value) for name, value in pairs})
        return found


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """Join two namespaces by a veth pair, without addresses and down."""
    peer = f"/proc/{os.getpid()}/fd/{right.fd}"
    left.ip(f"link add {left_name} type veth peer name {right_name} netns {peer}")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until condition() holds; `what` is the failure's text after WAIT_S seconds."""
    deadline = time.monotonic() + WAIT_S
    pause_s, longest_s = LOOK_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, longest_s)


def missing_rights() -> str | None:
    """Say what keeps this process from making a namespace with a TUN in it, or None."""
    try:
        with Namespace() as namespace, namespace.entered():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"", IFF_TUN_NO_PI))
            finally:
                os.close(fd)
    except OSError as error:
        return f"needs root (or a user namespace) with /dev/net/tun: {error}"
    return None


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """Bring the calling thread back to the namespace that it was in."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _call(_libc.setns, home, CLONE_NEWNET)
        finally:
            os.close(home)


def _call(function: Callable[..., int], *arguments: int) -> None:
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), function.__name__)
