"""`netlog watch` on frames of many shapes: VLAN tags, tunnels and super-packets beyond 64 KiB."""

import json
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from tests.support.namespace import Namespace, connect, wait_for
from tests.support.runs import Running, summed
from tests.support.suite import KERNEL_LACKS
from tests.support.watches import counts, watching

pytestmark = pytest.mark.root

PORT = 51820
MAX_TAGS = 8
VIRTUAL = ("virtual", "subnet", "exit")
TRANSFER = 5_000_000
BIG = 150_000
RTM_NEWLINK, IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE = 16, 63, 64


def datagram(*, tx: bool, version: int = 4) -> bytes:
    """A UDP datagram of 8 bytes from the port, or to it."""
    ports = (PORT, 9) if tx else (9, PORT)
    body = struct.pack("!HHHH", *ports, 16, 0) + bytes(8)
    if version == 6:
        return (
            struct.pack("!IHBB", 6 << 28, 16, 17, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + body
        )
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, 36, 0, 0, 64, 17, 0)
        + bytes([192, 0, 2, 1, 192, 0, 2, 2])
        + body
    )


def tagged(address: bytes, tags: int, *, tx: bool, version: int = 4, pppoe: bool = False) -> bytes:
    """A frame with so many VLAN tags, of all the kinds that there are."""
    kinds = (0x88A8, 0x8100, 0x9100, 0x9200) * 3
    frame = address + b"\2\0\0\0\0\1"
    for kind in kinds[:tags]:
        frame += struct.pack("!HH", kind, 7)
    if pppoe:
        frame += struct.pack("!HBBHHH", 0x8864, 0x11, 0, 1, 38, 0x21 if version == 4 else 0x57)
    else:
        frame += struct.pack("!H", 0x0800 if version == 4 else 0x86DD)
    return frame + datagram(tx=tx, version=version)


def link(namespace: Namespace, interface: str) -> tuple[socket.socket, bytes]:
    """A socket that sends frames on an interface, and the interface's address."""
    with namespace.entered():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.bind((interface, 0))
    return packets, packets.getsockname()[4]


@pytest.mark.parametrize("point", ["tun", "sock"])
def test_tags_are_passed_at_both_points(tmp_path: Path, point: str) -> None:
    """Up to eight tags, PPPoE and IPv6 behind them, in both directions; nine are told."""
    options = ("--tun", "lan0") if point == "tun" else ("--tun", "lo", "--sock", f"{PORT}@lan0")
    with (
        Namespace() as here,
        Namespace() as there,
        watching(here, tmp_path, *options) as running,
    ):
        connect(here, "lan0", there, "lan0")
        for namespace in (here, there):
            namespace.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
            namespace.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
            namespace.ip("link set lan0 up")
        name = "tun lan0" if point == "tun" else f"sock {PORT}@lan0"
        wait_for(lambda: counts(running, name), "it is tapped")
        out, own = link(here, "lan0")
        back, _ = link(there, "lan0")
        sent = 0
        with out, back:
            for tags in range(MAX_TAGS + 1):
                for version in (4, 6):
                    for pppoe in (False, True):
                        out.send(tagged(own, tags, tx=True, version=version, pppoe=pppoe))
                        back.send(tagged(own, tags, tx=False, version=version, pppoe=pppoe))
                        sent += 1
            # Another port, and more tags than are read (a host takes out the first that it gets).
            out.send(tagged(own, 3, tx=False))
            back.send(tagged(own, 3, tx=True))
            back.send(tagged(own, MAX_TAGS + 2, tx=False))
        assert running.stop() == 0
    if point == "sock":
        total = summed(running.messages, "physical")
        assert total == (sent, sent * 8, sent, sent * 8)
    else:
        total = summed(running.messages, *VIRTUAL)
        # The two of another port count here, too.
        assert (total[0], total[2]) == (sent + 1, sent + 1)
    found = re.search(rf"{name}: \d+ frames counted.*left out: (.*)", running.said)
    assert found is not None
    assert found[1].startswith("1 not ip")


def add(namespace: Namespace, arguments: str) -> None:
    """Run `ip`, for something that not every kernel has, or not every ip(8)."""
    try:
        namespace.ip(arguments)
    except AssertionError as error:
        pytest.skip(f"{KERNEL_LACKS}such link, or ip(8) does not know it: {error}")


def set_big_ipv4(namespace: Namespace, interface: str) -> None:
    """Allow BIG TCP over IPv4, which an ip(8) of before 6.3 cannot."""
    with namespace.entered():
        index = socket.if_nametoindex(interface)
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    body = struct.pack("BxHiII", 0, 0, index, 0, 0)
    for attribute in (IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE):
        body += struct.pack("HHI", 8, attribute, BIG)
    with netlink:
        netlink.send(struct.pack("IHHII", 16 + len(body), RTM_NEWLINK, 5, 1, 0) + body)
        (error,) = struct.unpack("i", netlink.recv(4096)[16:20])
    if error:
        pytest.skip(f"{KERNEL_LACKS}BIG TCP over IPv4: {error}")


def transfer(sender: Namespace, receiver: Namespace, address: str) -> None:
    """Send TRANSFER bytes over TCP."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver.entered():
        listener = socket.create_server((address, 5201), family=family)
    with sender.entered():
        client = socket.socket(family)
    with listener, client:
        client.connect((address, 5201))
        accepted, _ = listener.accept()
        with accepted:

            def write() -> None:
                client.sendall(bytes(TRANSFER))
                client.shutdown(socket.SHUT_WR)

            writer = threading.Thread(target=write)
            writer.start()
            received = 0
            while data := accepted.recv(1 << 20):
                received += len(data)
            writer.join()
    assert received == TRANSFER


def unattributed(running: Running) -> str:
    """What the watch says of it at its end."""
    found = re.search(r"unattributed: (.*)", running.said)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("kind", ["vxlan", "geneve", "gre", "ipip", "fou"])
def test_a_super_packet_in_a_tunnel_is_as_many_as_on_the_wire(tmp_path: Path, kind: str) -> None:
    """Below a tunnel there are as many packets as in it, each with the tunnel's headers."""
    makes = {
        "vxlan": ("vxlan id 7 local {here} remote {there} dstport 4789", 50),
        "geneve": ("geneve id 7 remote {there}", 50),
        "gre": ("gre local {here} remote {there}", 24),
        "ipip": ("ipip local {here} remote {there}", 20),
        "fou": ("ipip local {here} remote {there} encap fou encap-sport auto encap-dport 5555", 28),
    }
    make, overhead = makes[kind]
    with Namespace() as here, Namespace() as there:
        connect(here, "lan0", there, "lan0")
        for namespace, me, peer in ((here, 1, 2), (there, 2, 1)):
            namespace.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
            namespace.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
            namespace.up("lan0", f"192.0.2.{me}/24")
            if kind == "fou":
                add(namespace, "fou add port 5555 ipproto 4")
            kind_of = make.format(here=f"192.0.2.{me}", there=f"192.0.2.{peer}")
            add(namespace, f"link add vpn0 mtu 1400 type {kind_of}")
            namespace.up("vpn0", f"100.64.0.{me}/24")
        if kind in ("vxlan", "geneve"):  # without ARP, which the tunnel carries and is no IP
            for namespace, other, host in ((here, there, 2), (there, here, 1)):
                (vpn,) = json.loads(other.ip("-j link show dev vpn0"))
                namespace.ip(f"neigh replace 100.64.0.{host} lladdr {vpn['address']} dev vpn0")
        inner, outer = tmp_path / "inner", tmp_path / "outer"
        with (
            watching(here, inner, "--tun", "vpn0") as inside,
            watching(here, outer, "--tun", "lan0") as outside,
        ):
            wait_for(lambda: counts(inside, "tun vpn0"), "the tunnel is tapped")
            wait_for(lambda: counts(outside, "tun lan0"), "the link is tapped")
            transfer(here, there, "100.64.0.2")
            super_packets = here.counters("vpn0").tx_packets
            assert (inside.stop(), outside.stop()) == (0, 0)
    packets, data, *_ = summed(inside.messages, *VIRTUAL)
    assert packets > TRANSFER // 1400 > super_packets
    assert summed(outside.messages, *VIRTUAL)[:2] == (packets, data + packets * overhead)
    assert unattributed(outside) == "none"


@pytest.mark.parametrize("version", [4, 6])
def test_a_super_packet_beyond_64_kib_counts_as_its_segments(tmp_path: Path, version: int) -> None:
    """BIG TCP: the packets and bytes of the connection are those of the wire."""
    with Namespace() as here, Namespace() as there:
        connect(here, "lan0", there, "lan0")
        for namespace, me in ((here, 1), (there, 2)):
            namespace.quiet("lan0")
            if version == 6:
                add(namespace, f"link set lan0 gso_max_size {BIG} gro_max_size {BIG}")
            else:
                set_big_ipv4(namespace, "lan0")
            namespace.up("lan0", f"192.0.2.{me}/24", f"2001:db8::{me}/64")
        with watching(here, tmp_path, "--tun", "lan0") as running:
            wait_for(lambda: counts(running, "tun lan0"), "it is tapped")
            transfer(here, there, "192.0.2.2" if version == 4 else "2001:db8::2")
            assert running.stop() == 0
    headers = 52 if version == 4 else 72  # with TCP's timestamps
    tx_packets, tx_bytes, *_ = summed(running.messages, *VIRTUAL)
    assert unattributed(running) == "none"
    # All but some packets without data are segments.
    assert TRANSFER // 1448 <= tx_packets <= TRANSFER // 1400
    assert (
        TRANSFER + TRANSFER // 1448 * headers
        <= tx_bytes
        <= TRANSFER + tx_packets * (headers + 8) + 1000
    )
