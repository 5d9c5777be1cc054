"""The openvpn source beside a real server, whose clients have names that are hard to tell apart."""

import contextlib
import socket
import subprocess
from pathlib import Path

import pytest

from netlog import Node
from netlog.sources import OpenVpnSource, Overlay
from tests.support.daemon_configs import needs
from tests.support.namespace import wait_for
from tests.system.openvpn_servers import certificates, certify, client_command, links, server

pytestmark = [pytest.mark.root, needs("openvpn", "openssl")]

COMMAS = "al,1,192.0.2.9:1,ice"


def nodes(overlay: Overlay) -> dict[str, Node]:
    """By their ids."""
    assert overlay.nodes is not None
    return {node.node_id: node for node in overlay.nodes.by_address.values()}


@pytest.mark.parametrize("version", ["1", "2"])
def test_names_with_commas_and_names_that_are_shared(tmp_path: Path, version: str) -> None:
    """File and management interface tell the same, and that nobody else can ask is said."""
    certificates(tmp_path)
    certify(tmp_path, "shared", "Bjørn")
    certify(tmp_path, "commas", COMMAS)
    at = f"{tmp_path}/management"
    status = tmp_path / "status"
    options = ("--duplicate-cn", "--management", at, "unix", "--status-version", version)
    with links() as (left, clients), contextlib.ExitStack() as stack:
        said = stack.enter_context((tmp_path / "said").open("wb"))
        wanted = [
            (left, server(tmp_path, *options, "--status", str(status), "1")),
            (clients["alice"], client_command("shared", tmp_path, remote="192.0.2.1")),
            (clients["bob"], client_command("shared", tmp_path, remote="198.51.100.1")),
            (clients["bob"], client_command("commas", tmp_path, remote="198.51.100.1")),
        ]
        for namespace, command in wanted:
            # One namespace has two of them; the kernel chooses a name for each.
            own = ["tun" if word == "tun0" else word for word in command]
            process = namespace.popen(*own, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            stack.callback(process.wait)
            stack.callback(process.kill)
        asked, read = OpenVpnSource(at), OpenVpnSource(str(status))
        wait_for(Path(at).exists, "the server is up")
        wait_for(lambda: len(nodes(answer_of(asked))) == 3, "all are connected")
        told = answer_of(asked)
        wait_for(lambda: answer_of(read).peers == told.peers, "the file tells the same")
        assert answer_of(read).nodes == told.nodes
        assert answer_of(read).routes == told.routes
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(at)
            assert other.recv(1) == b">"
            with pytest.raises(TimeoutError, match="one client at a time"):
                asked.snapshot()
        assert answer_of(asked) is told
    found = nodes(told)
    assert {node.name for node in found.values()} == {"Bjørn", COMMAS}
    for node_id, node in found.items():
        assert node_id == (COMMAS if node.name == COMMAS else f"Bjørn#{node.addresses[0]}")
    assert {peer.endpoint.split(":")[0] for peer in told.peers} == {"192.0.2.2", "198.51.100.2"}


def answer_of(source: OpenVpnSource) -> Overlay:
    """What it says as soon as it can.

    The socket is there before the daemon listens, half a second is not always enough for an answer,
    and a status file may not be whole yet.
    """
    answers: list[Overlay] = []

    def answered() -> bool:
        with contextlib.suppress(ValueError, OSError):
            answers.append(source.snapshot())
        return bool(answers)

    wait_for(answered, "an answer")
    return answers[0]
