"""`netlog exec` with the openvpn source: a real server, whose clients have names and move."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_configs import needs, openvpn
from tests.support.daemons import BULK_BYTES, Metered, check, metered, rest, tunnel, udp
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import Running, kernel, summed
from tests.support.transfers import PIECE_BYTES, Transfer
from tests.support.watches import counts, watching
from tests.system.openvpn_servers import (
    BEHIND,
    Client,
    answers,
    certificates,
    client,
    client_command,
    connected,
    links,
    server,
)

pytestmark = [pytest.mark.root, needs("openvpn", "openssl")]

PIECES = 200
SEGMENTS = PIECES * PIECE_BYTES // 1500 // 2
"""Half of what is in a transfer at least: where a machine is starved, an answer may be late."""
NAMES = {"alice": "100.64.0.2", "bob": "100.64.0.3"}


@dataclass
class Run:
    """A metered server with its clients, and what was seen of it."""

    metered: Metered
    left: Namespace
    clients: dict[str, Client]
    watch: Running | None = None

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait while packets cross: an idle server looks at its clock every ten seconds."""
        alice = self.clients["alice"]
        wait_for(lambda: answers(self.left, alice) and condition(), what)

    def move_data(self, knows: Callable[[bytes], bool] = lambda _: True) -> None:
        """Transfers to both clients and to the network behind one; alice moves in the middle.

        `knows`: whether the source can tell of an address.
        """
        alice, bob = self.clients["alice"], self.clients["bob"]
        with contextlib.closing(Transfer(self.left, bob.namespace, bob.overlay)) as transfer:
            transfer.move(PIECES)
        with contextlib.closing(Transfer(self.left, alice.namespace, alice.overlay)) as transfer:
            transfer.move(PIECES)
            alice.move()
            self.wait_until(lambda: knows(b"192.0.2.3:"), "the source knows the new address")
            transfer.move(PIECES)
        self.left.run("ping", "-c", "2", "-i", "0.01", f"{BEHIND}.1")


@contextlib.contextmanager
def running(
    tmp_path: Path,
    options: tuple[str, ...],
    source: tuple[str, ...],
    proto: str = "udp",
    watched: tuple[str, ...] = (),
) -> Iterator[Run]:
    """A server under `netlog exec`, to the point where packets pass to both clients.

    `watched`: options of a `netlog watch` beside it.
    """
    certificates(tmp_path)
    protos = {"udp": ("udp", "udp"), "tcp": ("tcp-server", "tcp-client")}[proto]
    command = server(tmp_path, *options, proto=protos[0])
    with contextlib.ExitStack() as stack:
        left, namespaces = stack.enter_context(links())
        daemon = stack.enter_context(metered(left, tmp_path / "a", command, *source))
        wait_for(daemon.is_up, "the server is up")
        watch = None
        if watched:
            watch = stack.enter_context(watching(left, tmp_path / "watch", *watched))
            wait_for(lambda: counts(watch, "sock 1194"), "it is tapped")
        clients = stack.enter_context(connected(left, namespaces, tmp_path, protos))
        yield Run(daemon, left, clients, watch)


def physical(messages: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Packets by overlay address and endpoint, the port of which is the client's choice."""
    found: dict[tuple[str, str], int] = {}
    for message in messages:
        for entry in message.get("physicalTraffic", ()):
            ends = entry.get("src", ""), entry["dst"].rpartition(":")[0]
            packets = entry.get("txPkts", 0) + entry.get("rxPkts", 0)
            found[ends] = found.get(ends, 0) + packets
    return found


def check_exact(run: Run) -> None:
    """Stop it, and compare its sums with the kernel's counters."""
    rest(run.metered)
    expected = kernel(run.left.counters("tun0"))
    assert run.metered.stop() == 0
    assert run.metered.tun() == expected
    sock = run.metered.sock()
    assert (sock[0], sock[2]) == udp(run.left)


def check_names(messages: list[dict[str, Any]]) -> None:
    """Nodes and classes are those of the server's clients."""
    nodes = {node["nodeId"]: node for m in messages for node in m.get("dstNodes", ())}
    for name, address in NAMES.items():
        assert nodes[name] == {"nodeId": name, "name": name, "addresses": [address]}
    own = [message["srcNode"] for message in messages if "srcNode" in message]
    assert own[-1]["addresses"] == ["100.64.0.1"]
    ends = [
        (entry["src"].rpartition(":")[0], entry["dst"].rpartition(":")[0])
        for message in messages
        for entry in message.get("virtualTraffic", ())
    ]
    assert set(ends) == {("100.64.0.1", address) for address in NAMES.values()}
    subnet = {entry["dst"] for m in messages for entry in m.get("subnetTraffic", ())}
    assert f"{BEHIND}.1:0" in subnet


def check_peers(messages: list[dict[str, Any]], unknown: int = SEGMENTS) -> None:
    """Whatever was sent once the clients were known has their overlay address.

    `unknown`: below so many packets may be without.
    """
    found = physical(messages)
    known = {ends: n for ends, n in found.items() if ends[0]}
    assert set(known) == {
        ("100.64.0.2:0", "192.0.2.2"),
        ("100.64.0.2:0", "192.0.2.3"),
        ("100.64.0.3:0", "198.51.100.2"),
    }
    assert min(known.values()) > SEGMENTS
    # The handshakes are before the server knows with whom.
    assert sum(n for ends, n in found.items() if not ends[0]) < unknown


def test_the_clients_of_a_server_have_names(tmp_path: Path) -> None:
    """By the management interface, which a watch beside it asks too: sums and names are theirs."""
    at = f"{tmp_path}/management"
    source = ("--source", f"openvpn:{at}")
    watched = ("--tun", "tun0", "--sock", "1194", *source)
    with running(tmp_path, ("--management", at, "unix"), source, watched=watched) as run:
        run.move_data()
        assert run.watch is not None
        rest(run.metered)
        assert run.watch.stop() == 0
        counters = run.left.counters("tun0")
        check_exact(run)
    tapped = summed(run.watch.messages, "virtual", "subnet", "exit")
    assert (tapped[0], tapped[2]) == (
        counters.tx_packets + counters.tx_dropped,
        counters.rx_packets,
    )
    for messages in (run.metered.messages, run.watch.messages):
        check_names(messages)
        check_peers(messages)
    # The daemon's socket comes after netlog's first look, and goes before its last one.
    assert ": not available (" not in run.metered.said


def test_the_management_interface_over_tcp(tmp_path: Path) -> None:
    """With a password; what it says itself is none of the tunnel's, which is TCP too."""
    (tmp_path / "password").write_text("sesame\n")
    (tmp_path / "exec.toml").write_text(
        'source = { type = "openvpn", at = "127.0.0.1:7505", '
        f'password_file = "{tmp_path}/password" }}\n'
    )
    options = ("--management", "127.0.0.1", "7505", f"{tmp_path}/password")
    source = ("--config", f"{tmp_path}/exec.toml")
    with running(tmp_path, options, source, proto="tcp") as run:
        alice = run.clients["alice"]
        with contextlib.closing(Transfer(run.left, alice.namespace, alice.overlay)) as transfer:
            transfer.move(PIECES)
        rest(run.metered)
        expected = kernel(run.left.counters("tun0"))
        assert run.metered.stop() == 0
    assert run.metered.tun() == expected
    assert "sesame" not in run.metered.said
    found = physical(run.metered.messages)
    assert found["100.64.0.2:0", "192.0.2.2"] > SEGMENTS
    assert {at for _, at in found} == {"192.0.2.2", "198.51.100.2"}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_status_file_will_do(tmp_path: Path, version: int) -> None:
    """What it does not tell yet has no name; sums are exact all the same."""
    at = tmp_path / "status"
    options = ("--status", str(at), "1", "--status-version", str(version))
    with running(tmp_path, options, ("--source", f"openvpn:{at}")) as run:
        run.wait_until(lambda: b"198.51.100.2:" in at.read_bytes(), "the file tells of both")
        run.move_data(lambda address: address in at.read_bytes())
        check_exact(run)
    check_names(run.metered.messages)
    check_peers(run.metered.messages, unknown=2 * SEGMENTS)
    assert ": not available (" not in run.metered.said


def test_a_tunnel_from_point_to_point(tmp_path: Path) -> None:
    """Each end knows the address of the other one, which the kernel has, and where it is."""
    options = ("--management", "127.0.0.1", "7505")
    source = ("--source", "openvpn:127.0.0.1:7505")
    with tunnel(tmp_path, *openvpn(tmp_path, *options, tls=True), *source) as (a, b):
        check(a, b)
    for me, end in enumerate((a, b), 1):
        found = physical(end.messages)
        assert found[f"100.64.0.{3 - me}:0", f"192.0.2.{3 - me}"] > BULK_BYTES // 1500
        assert {at for _, at in found} == {f"192.0.2.{3 - me}"}


def test_a_client_of_a_server(tmp_path: Path) -> None:
    """It has an address of its own; a user says what the server's is, which nobody tells."""
    certificates(tmp_path)
    (tmp_path / "exec.toml").write_text(
        'peers = [{ endpoint = "192.0.2.1:1194", allowed_ips = ["100.64.0.1"] }]\n'
    )
    with links() as (left, namespaces), contextlib.ExitStack() as stack:
        said = stack.enter_context((tmp_path / "server").open("wb"))
        daemon = left.popen(*server(tmp_path), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        stack.callback(daemon.wait)
        stack.callback(daemon.kill)
        command = (*client_command("alice", tmp_path), "--management", "127.0.0.1", "7505")
        options = ("--source", "openvpn:127.0.0.1:7505", "--config", f"{tmp_path}/exec.toml")
        end = stack.enter_context(metered(namespaces["alice"], tmp_path / "a", command, *options))
        alice = Client("alice", end.namespace, tmp_path)
        wait_for(lambda: answers(left, alice), "alice answers")
        end.namespace.run("ping", "-c", "20", "-i", "0.01", "100.64.0.1")
        rest(end)
        expected = kernel(end.namespace.counters("tun0"))
        assert end.stop() == 0
    assert end.tun() == expected
    found = physical(end.messages)
    assert set(found) == {("100.64.0.1:0", "192.0.2.1")}


def test_clients_over_ipv6(tmp_path: Path) -> None:
    """OpenVPN may not say at which port a client is: all of its address are the client's."""
    certificates(tmp_path)
    at = f"{tmp_path}/management"
    with contextlib.ExitStack() as stack:
        left, namespaces = stack.enter_context(links())
        for number, name in enumerate(NAMES, 1):
            for namespace, interface, me in (
                (left, f"lan{number}", 1),
                (namespaces[name], "lan0", 2),
            ):
                namespace.sysctl(f"net/ipv6/conf/{interface}/disable_ipv6", 0)
                namespace.ip(f"addr add fd00:{number}::{me}/64 dev {interface} nodad")
        command = server(tmp_path, "--management", at, "unix", proto="udp6")
        source = ("--source", f"openvpn:{at}")
        run = stack.enter_context(metered(left, tmp_path / "a", command, *source))
        wait_for(run.is_up, "the server is up")
        remotes = {"alice": "fd00:1::1", "bob": "fd00:2::1"}
        for name, remote in remotes.items():
            options = ("udp6", remote)
            one = stack.enter_context(client(name, namespaces[name], tmp_path, *options))
            wait_for(partial(answers, left, one), "it answers")
            left.run("ping", "-q", "-c", "200", "-i", "0.002", one.overlay)
        rest(run)
        assert run.stop() == 0
        sent = left.snmp()
    assert run.sock()[0::2] == (sent["Udp6OutDatagrams"], sent["Udp6InDatagrams"])
    found = physical(run.messages)
    assert found["100.64.0.2:0", "[fd00:1::2]"] >= 200
    assert found["100.64.0.3:0", "[fd00:2::2]"] >= 200
    assert {at for _, at in found} == {"[fd00:1::2]", "[fd00:2::2]"}
