"""An OpenVPN server and two clients, with TLS, for the tests.

    namespace of the server                    192.0.2.2 lan0  namespace of "alice"
    tun0 100.64.0.1      192.0.2.1 lan1 -----------------/     tun0 100.64.0.2, 10.9.2.1
      |     openvpn
      ...             198.51.100.1 lan2 -----------------\
                                            198.51.100.2 lan0  namespace of "bob", tun0 100.64.0.3

Nobody talks IPv6, so that what crosses the interfaces is what the test and the daemons send.
"""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.daemon_configs import EC_KEY, openssl
from tests.support.namespace import Namespace, connect, wait_for

SUBNETS = {"alice": "192.0.2", "bob": "198.51.100"}
OVERLAY = {"alice": "100.64.0.2", "bob": "100.64.0.3"}
PORT = 1194
KEY = (*EC_KEY.split(), "-nodes")
BEHIND = "10.9.2"
"""The network behind alice."""


@dataclass
class Client:
    """One of the two."""

    name: str
    namespace: Namespace
    folder: Path

    @property
    def overlay(self) -> str:
        """Its address in the tunnel."""
        return OVERLAY[self.name]

    @property
    def said(self) -> str:
        """What it has said so far."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def move(self) -> None:
        """Have another address in the underlay, which the server hears of from its next packet."""
        subnet = SUBNETS[self.name]
        self.namespace.ip(f"addr del {subnet}.2/24 dev lan0")
        self.namespace.ip(f"addr add {subnet}.3/24 dev lan0")
        self.namespace.run("ping", "-c", "1", "-W", "10", "100.64.0.1")


def certificates(folder: Path) -> None:
    """A CA, and what it signed for the server and both clients."""
    own = ("-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")
    openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=ca", *own)
    for name in ("server", *OVERLAY):
        certify(folder, name, name)


def certify(folder: Path, file: str, name: str) -> None:
    """A key in a file, and a certificate with a common name, by the CA."""
    at = f"{folder}/{file}"
    subject = ("-utf8", "-subj", f"/CN={name}")
    openssl("req", *KEY, *subject, "-keyout", f"{at}.key", "-out", f"{at}.csr")
    signer = ("-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial")
    openssl("x509", "-req", "-in", f"{at}.csr", *signer, "-days", "2", "-out", f"{at}.crt")


def server(folder: Path, *options: str, proto: str = "udp") -> tuple[str, ...]:
    """The command of the server."""
    clients = folder / "clients"
    clients.mkdir()
    for name, address in OVERLAY.items():
        iroute = f"iroute {BEHIND}.0 255.255.255.0\n" if name == "alice" else ""
        (clients / name).write_text(f"ifconfig-push {address} 255.255.255.0\n{iroute}")
    return (
        *("openvpn", "--dev", "tun0", "--dev-type", "tun", "--proto", proto, "--port", str(PORT)),
        *("--server", "100.64.0.0", "255.255.255.0", "--topology", "subnet", "--float"),
        *("--route", f"{BEHIND}.0", "255.255.255.0", "--client-config-dir", str(clients)),
        *("--dh", "none", "--disable-dco", "--verb", "3"),
        *_identity(folder, "server"),
        *options,
    )


def client_command(
    name: str, folder: Path, proto: str = "udp", remote: str = ""
) -> tuple[str, ...]:
    """The command of a client."""
    return (
        *("openvpn", "--client", "--dev", "tun0", "--dev-type", "tun", "--nobind"),
        *("--proto", proto, "--remote", remote or f"{SUBNETS[name]}.1", str(PORT)),
        *("--disable-dco", "--verb", "3", "--connect-retry", "1", "1"),
        *("--server-poll-timeout", "2"),
        *_identity(folder, name),
    )


@contextlib.contextmanager
def client(
    name: str, namespace: Namespace, folder: Path, proto: str = "udp", remote: str = ""
) -> Iterator[Client]:
    """Run a client; whatever happens, end it."""
    with (folder / f"{name}.log").open("wb") as said:
        process = namespace.popen(
            *client_command(name, folder, proto, remote),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield Client(name, namespace, folder)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def links() -> Iterator[tuple[Namespace, dict[str, Namespace]]]:
    """The namespace of the server, and those of the clients by their names."""
    with Namespace() as left, Namespace() as alice, Namespace() as bob:
        clients = {"alice": alice, "bob": bob}
        for namespace in (left, alice, bob):
            for which in ("all", "default"):
                namespace.sysctl(f"net/ipv6/conf/{which}/disable_ipv6", 1)
        for number, (name, namespace) in enumerate(clients.items(), 1):
            connect(left, f"lan{number}", namespace, "lan0")
            left.up(f"lan{number}", f"{SUBNETS[name]}.1/24")
            namespace.up("lan0", f"{SUBNETS[name]}.2/24")
            wait_for(partial(namespace.carries, "lan0"), "the link is up")
        yield left, clients


@contextlib.contextmanager
def connected(
    left: Namespace, clients: dict[str, Namespace], folder: Path, protos: Sequence[str] = ("udp",)
) -> Iterator[dict[str, Client]]:
    """Both clients, to the point where packets pass."""
    with contextlib.ExitStack() as stack:
        running = {
            name: stack.enter_context(client(name, namespace, folder, protos[-1]))
            for name, namespace in clients.items()
        }
        for one in running.values():
            wait_for(partial(answers, left, one), f"{one.name} answers")
        running["alice"].namespace.up("lo", f"{BEHIND}.1/24")
        yield running


def answers(left: Namespace, one: Client) -> bool:
    """Whether a ping from the server comes back."""
    with left.entered():
        done = subprocess.run(
            ("ping", "-q", "-c", "1", "-W", "0.3", one.overlay), capture_output=True, check=False
        )
    return done.returncode == 0


def _identity(folder: Path, name: str) -> tuple[str, ...]:
    at = f"{folder}/{name}"
    return "--ca", f"{folder}/ca.crt", "--cert", f"{at}.crt", "--key", f"{at}.key"
