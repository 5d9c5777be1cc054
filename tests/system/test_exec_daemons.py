"""`netlog exec`: unmodified daemons of the distribution, checked against the kernel's counters."""

import os
from pathlib import Path

import pytest

from tests.support.daemon_configs import PATH, fastd, n2n, needs, openvpn, socat, tinc, vtun
from tests.support.daemons import BULK_BYTES, check, metered, remotes, tunnel, udp, underlay
from tests.support.namespace import Namespace, wait_for

pytestmark = pytest.mark.root

SUPERNODE = "192.0.2.1:7777"


@needs("socat")
@pytest.mark.parametrize("packet_information", [False, True], ids=["plain", "header"])
def test_socat(tmp_path: Path, packet_information: bool) -> None:  # noqa: FBT001 - a parameter
    """A tunnel by socat, with and without the 4-byte header before each packet."""
    with tunnel(tmp_path, *socat(packet_information=packet_information)) as (a, b):
        check(a, b)


@needs("openvpn")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="static-key"),
        pytest.param(("--multihome",), id="multihome"),
    ],
)
def test_openvpn_udp(tmp_path: Path, options: tuple[str, ...]) -> None:
    """OpenVPN over UDP, by recvfrom and sendto, or recvmsg and sendmsg."""
    with tunnel(tmp_path, *openvpn(tmp_path, *options)) as (a, b):
        check(a, b)


@needs("openvpn", "openssl")
def test_openvpn_tls(tmp_path: Path) -> None:
    """OpenVPN with TLS and AES-256-GCM."""
    with tunnel(tmp_path, *openvpn(tmp_path, tls=True)) as (a, b):
        check(a, b)


@needs("openvpn")
def test_openvpn_tcp(tmp_path: Path) -> None:
    """OpenVPN over TCP: what one end wrote the other one has read."""
    with tunnel(tmp_path, *openvpn(tmp_path, tcp=True)) as (a, b):
        check(a, b, physical=False)
        assert a.sock()[1] == b.sock()[3]
        assert a.sock()[3] == b.sock()[1]
        assert a.sock()[1] > BULK_BYTES


@needs("openvpn")
def test_openvpn_gives_up_its_rights(tmp_path: Path) -> None:
    """Another root and user, and going to the background, change nothing."""
    jail = tmp_path / "jail"
    (jail / "tmp").mkdir(parents=True)
    options = ("--user", "nobody", "--group", "nogroup", "--chroot", str(jail), "--daemon")
    with tunnel(tmp_path, *openvpn(tmp_path, *options)) as (a, b):
        check(a, b)


@needs("fastd")
def test_fastd(tmp_path: Path) -> None:
    """A fastd, whose forked child closes all descriptors and runs a script."""
    with tunnel(tmp_path, *fastd(tmp_path)) as (a, b):
        check(a, b)


@needs("tincd")
def test_tinc(tmp_path: Path) -> None:
    """A tinc, with UDP and TCP, and a header before each packet."""
    with tunnel(tmp_path, *tinc(tmp_path)) as (a, b):
        check(a, b, physical=False)
        # Of the right one both are under one endpoint.
        assert remotes(a)["192.0.2.2:655"] == udp(a.namespace)


@needs("vtund")
def test_vtun(tmp_path: Path) -> None:
    """A vtun, whose server forks for each session, and which agrees on a UDP port over TCP."""
    left, right = vtun(tmp_path)
    with underlay() as (one, two), metered(one, tmp_path / "a", left) as a:
        # A client that finds nobody ends, and one that tries again does not end when told to.
        wait_for(lambda: listens(one, 5000), "the server listens")
        with metered(two, tmp_path / "b", right) as b:
            a.await_answer(b)
            check(a, b, streams=1)


def listens(namespace: Namespace, port: int) -> bool:
    """Whether a TCP socket listens there."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines
    )


def totals(by_remote: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Packets, tx and rx."""
    return sum(sent for sent, _ in by_remote.values()), sum(got for _, got in by_remote.values())


@needs("edge")
def test_n2n(tmp_path: Path) -> None:
    """An n2n, whose packets are Ethernet frames: what is not IP is counted without a connection."""
    left, right = n2n()
    with underlay() as (one, two):
        environment = os.environ | {"PATH": PATH}
        with (tmp_path / "supernode").open("wb") as said:
            supernode = one.popen("supernode", "-l", "7777", stdout=said, env=environment)
        try:
            with metered(one, tmp_path / "a", left) as a, metered(two, tmp_path / "b", right) as b:
                a.await_answer(b)
                check(a, b, header_bytes=14, physical=False)
                at_left, at_right = remotes(a), remotes(b)
                sent, received = udp(one)
                assert totals(at_right) == udp(two)
                # The supernode is there, too: what it sends the edges receive.
                sent -= at_left[SUPERNODE][1] + at_right[SUPERNODE][1]
                received -= at_left[SUPERNODE][0] + at_right[SUPERNODE][0]
                assert totals(at_left) == (sent, received)
        finally:
            supernode.kill()
            supernode.wait()
