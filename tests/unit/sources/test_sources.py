"""Sources: what WireGuard says of its peers, and what becomes of a source that is down."""

import base64
import contextlib
import ipaddress
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog import Node, Peer
from netlog.sources import KeptSource, Overlay, Source, StaticSource, WireGuardSource
from netlog.sources.wireguard.peers import overlay_of
from netlog.sources.wireguard.source import parse_peers

SECRET = os.urandom(32).hex()
KEYS = [f"{number:064x}" for number in range(1, 4)]

ANSWER = f"""private_key={SECRET}
listen_port=12912
public_key={KEYS[0]}
preshared_key={SECRET}
protocol_version=1
endpoint=192.0.2.7:51820
last_handshake_time_sec=1
allowed_ip=100.64.0.7/32
allowed_ip=10.7.0.0/16
public_key={KEYS[1]}
endpoint=[fe80::1%2]:51821
allowed_ip=fd7a:115c:a1e0::8/128
public_key={KEYS[2]}
allowed_ip=100.64.0.9/32
allowed_ip=10.7.0.0/16
errno=0

""".encode()

ANSWERER = """
import socket, sys, time
path, mode = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    answer = sys.stdin.buffer.read()
    while True:
        with listener.accept()[0] as asked:
            assert asked.recv(100) == b"get=1\\n\\n"
            if mode == "whole":
                asked.sendall(answer)
            elif mode == "pieces":
                for byte in answer:
                    asked.send(bytes((byte,)))
            elif mode == "hangs":
                asked.send(answer[:50])
                asked.recv(1)
            elif mode == "cut":
                asked.send(answer[:50])
            else:
                try:
                    while True:
                        asked.sendall(answer.replace(b"\\n\\n", b"\\n"))
                except OSError:
                    pass
"""


@contextlib.contextmanager
def answering(folder: Path, mode: str) -> Iterator[WireGuardSource]:
    """A process that answers as an interface `wg0` does, or not quite."""
    path = folder / "wg0.sock"
    command = (sys.executable, "-c", ANSWERER, str(path), mode)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(ANSWER)
        process.stdin.close()
        try:
            yield WireGuardSource("wg0", folder=folder)
        finally:
            process.kill()


@pytest.mark.parametrize("mode", ["whole", "pieces"])
def test_peers_and_routes_of_an_interface(tmp_path: Path, mode: str) -> None:
    """Each peer with an endpoint, without its zone; the allowed IPs of all, each once."""
    with answering(tmp_path, mode) as source:
        overlay = source.snapshot()
    assert overlay.peers == (
        Peer("192.0.2.7:51820", ("100.64.0.7/32", "10.7.0.0/16")),
        Peer("[fe80::1]:51821", ("fd7a:115c:a1e0::8/128",)),
    )
    assert overlay.routes == tuple(
        map(
            ipaddress.ip_network,
            ("100.64.0.7/32", "10.7.0.0/16", "fd7a:115c:a1e0::8/128", "100.64.0.9/32"),
        )
    )
    assert isinstance(source, Source)


def test_every_peer_is_a_node() -> None:
    """By its public key, with the name that the user gave it, whether it has an endpoint or not."""
    ids = [base64.b64encode(bytes.fromhex(key)).decode() for key in KEYS]
    overlay = overlay_of(parse_peers(ANSWER), {ids[0]: "seven", ids[2]: "nine", "other": "nobody"})
    assert [peer.name for peer in overlay.peers] == ["seven", ""]
    assert overlay.nodes is not None
    assert dict(overlay.nodes.by_address) == {
        ipaddress.ip_address("100.64.0.7"): Node(ids[0], "seven", ("100.64.0.7",)),
        ipaddress.ip_address("fd7a:115c:a1e0::8"): Node(ids[1], "", ("fd7a:115c:a1e0::8",)),
        ipaddress.ip_address("100.64.0.9"): Node(ids[2], "nine", ("100.64.0.9",)),
    }


def test_an_endpoint_of_two_peers_goes_to_the_newest_handshake() -> None:
    """The order in which they are told says nothing: a stale key of the same host may be last."""
    lines = [
        *(f"public_key={KEYS[0]}", "endpoint=198.51.100.2:5", "last_handshake_time_sec=17"),
        *("last_handshake_time_nsec=1", "allowed_ip=10.0.0.2/32"),
        *(f"public_key={KEYS[1]}", "endpoint=198.51.100.2:5", "last_handshake_time_sec=17"),
        *("last_handshake_time_nsec=0", "allowed_ip=10.0.0.3/32", "errno=0", "", ""),
    ]
    overlay = overlay_of(parse_peers("\n".join(lines).encode()), {})
    assert [peer.allowed_ips for peer in overlay.peers] == [("10.0.0.2/32",)]


def test_what_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    """So the logger need not look whether it is."""
    with answering(tmp_path, "whole") as source:
        assert source.snapshot() is source.snapshot()


@pytest.mark.parametrize(
    ("mode", "kind"), [("hangs", TimeoutError), ("cut", ValueError), ("endless", Exception)]
)
def test_an_answer_that_does_not_end_is_given_up(
    tmp_path: Path, mode: str, kind: type[Exception]
) -> None:
    """One that hangs, one that is cut short, one that never ends."""
    with answering(tmp_path, mode) as source, pytest.raises(kind):
        source.snapshot()


def test_an_interface_that_is_not_there(tmp_path: Path) -> None:
    """There is no socket, or nobody listens any more."""
    source = WireGuardSource("wg0", folder=tmp_path)
    with pytest.raises(FileNotFoundError):
        source.snapshot()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / "wg0.sock"))
    with pytest.raises(ConnectionRefusedError):
        source.snapshot()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(ANSWER.replace(b"errno=0", b"errno=2"), id="errno"),
        pytest.param(ANSWER.replace(b"errno=0\n", b""), id="no-errno"),
        pytest.param(ANSWER.replace(b"errno=0", b"errno=" + SECRET.encode()), id="errno-text"),
        pytest.param(b"endpoint=192.0.2.7:1\nerrno=0\n\n", id="endpoint-of-nobody"),
        pytest.param(ANSWER.replace(b"192.0.2.7:51820", SECRET.encode()), id="endpoint"),
        pytest.param(ANSWER.replace(b"192.0.2.7:51820", b"192.0.2.7:0"), id="port"),
        pytest.param(ANSWER.replace(b"100.64.0.7/32", SECRET.encode()), id="prefix"),
        pytest.param(ANSWER.replace(b"private_key=", b""), id="no-key"),
        pytest.param(ANSWER.replace(KEYS[0].encode(), SECRET.encode()[:60]), id="short-key"),
        pytest.param(ANSWER.replace(KEYS[0].encode(), SECRET.encode() + b"z"), id="no-hex"),
        pytest.param(ANSWER.replace(b"endpoint=", b"\xff="), id="not-ascii"),
        pytest.param(ANSWER.replace(b"7/32", b"7/32" + b" " * 5000), id="long-line"),
    ],
)
def test_what_is_no_answer_is_an_error_without_secrets(answer: bytes) -> None:
    """The text names the line and the key, and never a value: it may be a private key."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_peers(answer)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__


class Failing:
    """A source that can be down."""

    def __init__(self, error: type[Exception] = OSError) -> None:
        self.down = True
        self._error = error
        self.overlay = Overlay(peers=(Peer("192.0.2.7:1", ("100.64.0.7",)),))

    def snapshot(self) -> Overlay:
        """The overlay, or an error."""
        if self.down:
            raise self._error(os.EX_UNAVAILABLE, "down")
        return self.overlay


def test_a_source_that_is_down_keeps_its_last_answer(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted each time and said once; so is that it is back."""
    caplog.set_level(logging.INFO, "netlog")
    failing = Failing()
    kept = KeptSource(failing, "wg0")
    assert kept.snapshot() == Overlay()
    failing.down = False
    assert kept.snapshot() == failing.overlay
    failing.down = True
    assert kept.snapshot() == kept.snapshot() == failing.overlay
    assert kept.errors == 3
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "wg0: not available",
        "wg0: available again",
        "wg0: not available",
    ]


@pytest.mark.parametrize("error", [FileNotFoundError, ConnectionRefusedError, ValueError])
def test_a_daemon_that_starts_or_ends_is_not_reported(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """It is away for a while, each time; if it stays away, that is said and counted in full."""
    caplog.set_level(logging.INFO, "netlog")
    now = [100.0]
    failing = Failing(error)
    kept = KeptSource(failing, "ovpn", clock_s=lambda: now[0])
    for _ in range(3):
        failing.down = True
        for _ in range(2):
            kept.snapshot()
            now[0] += 4.9
        failing.down = False
        assert kept.snapshot() == failing.overlay
        now[0] += 100.0
    assert (kept.errors, caplog.records) == (0, [])
    failing.down = True
    for now[0] in (1000.0, 1009.0, 1010.0, 1011.0):
        assert kept.snapshot() == failing.overlay
    assert kept.errors == 4
    (said,) = caplog.records
    assert said.getMessage().startswith("ovpn: not available (")


def test_a_source_that_never_answered_is_reported_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, with all failures: a run can be shorter than the grace."""
    failing = Failing(FileNotFoundError)
    kept = KeptSource(failing, "ovpn", clock_s=lambda: 0.0)
    kept.snapshot()
    kept.snapshot()
    kept.end()
    kept.end()
    assert (kept.errors, len(caplog.records)) == (2, 1)


def test_a_static_source_says_what_it_was_given() -> None:
    """It is a source like the others."""
    overlay = Overlay(routes=(ipaddress.ip_network("10.0.0.0/8"),))
    assert StaticSource(overlay).snapshot() is overlay
