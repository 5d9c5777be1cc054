"""`netlog exec` with the openvpn source: a real server, whose clients have names and move."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from daemons import Metered, metered, rest, udp
from namespace import Namespace, wait_for
from openvpn_servers import BEHIND, Client, certificates, connected, links, server
from runs import kernel
from test_exec_daemons import needs
from transfers import PIECE_BYTES, Transfer

pytestmark = [pytest.mark.root, needs("openvpn")]

PIECES = 100
SEGMENTS = PIECES * PIECE_BYTES // 1500
"""At least so many packets are in half of a transfer, in either direction, twice over."""
NAMES = {"alice": "100.64.0.2", "bob": "100.64.0.3"}


@dataclass
class Run:
    """A metered server with its clients, and what was seen of it."""

    metered: Metered
    left: Namespace
    clients: dict[str, Client]

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
            wait_for(lambda: knows(b"192.0.2.3:"), "the source knows the new address")
            transfer.move(PIECES)
        self.left.run("ping", "-c", "2", "-i", "0.01", f"{BEHIND}.1")


@contextlib.contextmanager
def running(
    tmp_path: Path, options: tuple[str, ...], source: tuple[str, ...], proto: str = "udp"
) -> Iterator[Run]:
    """A server under `netlog exec`, to the point where packets pass to both clients."""
    certificates(tmp_path)
    protos = {"udp": ("udp", "udp"), "tcp": ("tcp-server", "tcp-client")}[proto]
    command = server(tmp_path, *options, proto=protos[0])
    with links() as (left, namespaces), metered(left, tmp_path / "a", command, *source) as daemon:
        wait_for(daemon.is_up, "the server is up")
        with connected(left, namespaces, tmp_path, protos) as clients:
            yield Run(daemon, left, clients)


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


def check_names(run: Run) -> None:
    """Nodes, peers and classes are those of the server's clients."""
    messages = run.metered.messages
    nodes = {node["nodeId"]: node for m in messages for node in m.get("dstNodes", ())}
    for name, address in NAMES.items():
        assert nodes[name] == {"nodeId": name, "name": name, "addresses": [address]}
    own = [message["srcNode"] for message in messages if "srcNode" in message]
    assert own[-1]["nodeId"] == "n"
    assert own[-1]["addresses"] == ["100.64.0.1"]
    virtual = {
        entry["dst"].rpartition(":")[0]: entry
        for message in messages
        for entry in message.get("virtualTraffic", ())
        if entry["src"].startswith("100.64.0.1:")
    }
    assert set(virtual) == set(NAMES.values())
    subnet = {e["dst"] for m in messages for e in m.get("subnetTraffic", ())}
    assert f"{BEHIND}.1:0" in subnet


def check_peers(run: Run, unknown: int = 100) -> None:
    """Whatever was sent once the clients were known has their overlay address.

    `unknown`: below so many packets may be without.
    """
    found = physical(run.metered.messages)
    known = {ends: n for ends, n in found.items() if ends[0]}
    assert set(known) == {
        ("100.64.0.2:0", "192.0.2.2"),
        ("100.64.0.2:0", "192.0.2.3"),
        ("100.64.0.3:0", "198.51.100.2"),
    }
    assert min(known.values()) > SEGMENTS
    # The handshakes are before the server knows with whom.
    assert sum(n for ends, n in found.items() if not ends[0]) < unknown


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_the_clients_of_a_server_have_names(tmp_path: Path, place: str) -> None:
    """By the management interface; what it says itself over TCP is none of the tunnel's."""
    if place == "unix":
        at = f"{tmp_path}/management"
        options: tuple[str, ...] = ("--management", at, "unix")
        source: tuple[str, ...] = ("--source", f"openvpn:{at}")
    else:
        (tmp_path / "password").write_text("sesame\n")
        (tmp_path / "exec.toml").write_text(
            f'source = {{ type = "openvpn", at = "127.0.0.1:7505", '
            f'password_file = "{tmp_path}/password" }}\n'
        )
        options = ("--management", "127.0.0.1", "7505", f"{tmp_path}/password")
        source = ("--config", f"{tmp_path}/exec.toml")
    with running(tmp_path, options, source) as run:
        run.move_data()
        check_exact(run)
    check_names(run)
    check_peers(run)
    if place == "tcp":
        assert "sesame" not in run.metered.said
        assert not [at for _, at in physical(run.metered.messages) if at == "127.0.0.1"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_status_file_will_do(tmp_path: Path, version: int) -> None:
    """What it does not tell yet has no name; sums are exact all the same."""
    at = tmp_path / "status"
    options = ("--status", str(at), "1", "--status-version", str(version))
    with running(tmp_path, options, ("--source", f"openvpn:{at}")) as run:
        wait_for(lambda: b"198.51.100.2:" in at.read_bytes(), "the file tells of both")
        run.move_data(lambda address: address in at.read_bytes())
        check_exact(run)
    check_names(run)
    check_peers(run, unknown=4 * SEGMENTS)
