"""A headscale and two nodes of it, each in a namespace of its own, for the tests.

                namespace "control": headscale, its relay (DERP), and a bridge
                                  br0 192.0.2.100
                     +-------------------+-------------------+
    lan0 192.0.2.1   |                                       |   lan0 192.0.2.2
        namespace "laptop"                              namespace "gate"     namespace "host"
        tailscale0, of alice                            tailscale0, tag:gate
                                                        far0 10.7.0.1 ------ far0 10.7.0.9

All three programs are as they are published: built by the Go tool from their modules, unchanged.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pyroute2.ethtool.ioctl import IoctlEthtool

from tests.support.namespace import Namespace, connect, wait_for

BIN = Path(os.environ["NETLOG_INTEROP_BIN"])
PORT = 41641
CONTROL = "192.0.2.100"
TUN = "tailscale0"
SUBNET, HOST = "10.7.0.0/24", "10.7.0.9"
REGION = 907

APART = (
    *("unshare", "--mount", "sh", "-c"),
    '{ test ! -e /etc/resolv.conf || mount --bind /dev/null /etc/resolv.conf; } && exec "$@"',
    "apart",
)
"""Becomes the command that follows, which cannot touch the resolver of this machine."""

CONFIG = """
server_url: http://{control}:8080
listen_addr: {control}:8080
metrics_listen_addr: 127.0.0.1:9090
grpc_listen_addr: 127.0.0.1:50443
grpc_allow_insecure: true
unix_socket: {folder}/headscale.sock
unix_socket_permission: "0700"
noise:
  private_key_path: {folder}/noise.key
prefixes:
  v4: 100.64.0.0/10
  v6: fd7a:115c:a1e0::/48
derp:
  server:
    enabled: true
    region_id: {region}
    region_code: here
    region_name: here
    stun_listen_addr: {control}:3478
    private_key_path: {folder}/derp.key
    automatically_add_embedded_derp_region: true
    verify_clients: false
    ipv4: {control}
  urls: []
  auto_update_enabled: false
disable_check_updates: true
database:
  type: sqlite
  sqlite:
    path: {folder}/headscale.sqlite
dns:
  magic_dns: true
  base_domain: tail.example
  override_local_dns: false
logtail:
  enabled: false
"""


def switch_off(namespace: Namespace, interface: str, pattern: str) -> None:
    """Switch those features of an interface off, as `ethtool -K` does."""
    with namespace.entered(), contextlib.closing(IoctlEthtool(interface)) as ethtool:
        features = ethtool.get_features()
        names = [name for name, *_ in features if re.fullmatch(pattern, name)]
        for name in names:
            if features.is_active(name):
                features[name] = False
        ethtool.set_features(features)
        features = ethtool.get_features()
        assert not any(features.is_active(name) for name in names)


@dataclass
class Control:
    """The headscale."""

    namespace: Namespace
    folder: Path

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - JSON
        """Run a command of headscale's, and read what it prints."""
        command = (str(BIN / "headscale"), "-c", str(self.folder / "headscale.yaml"))
        return json.loads(self.namespace.run(*command, "--output", "json", *words))

    def key(self, *words: str) -> str:
        """A key that a node joins with."""
        key = self.ask("preauthkeys", "create", *words)["key"]
        assert isinstance(key, str)
        return key


@dataclass
class Tailscaled:
    """A node: its tailscaled, which can be started again."""

    name: str
    number: int
    namespace: Namespace
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where its LocalAPI listens."""
        return self.folder / "tailscaled.sock"

    @property
    def underlay(self) -> str:
        """Where its datagrams come from."""
        return f"192.0.2.{self.number}"

    def start(self) -> None:
        """Start it, to the point where it answers."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "said").open("ab") as said:
            self.process = self.namespace.popen(
                *APART,
                str(BIN / "tailscaled"),
                f"--tun={TUN}",
                f"--port={PORT}",
                f"--socket={self.socket}",
                f"--statedir={self.folder}",
                "--no-logs-no-support",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=os.environ
                | {"TS_DEBUG_USE_DERP_HTTP": "1", "TS_LOGS_DIR": str(self.folder)}
                | self.environment,
            )
        wait_for(self.answers, "tailscaled answers, and its interface is there")

    def answers(self) -> bool:
        """Whether it does, and has made its interface; one that has ended never will."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "said").read_text()
        with self.namespace.entered(), socket.socket(socket.AF_UNIX) as asking:
            made = any(name == TUN for _, name in socket.if_nameindex())
            return made and asking.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            finally:
                self.process.kill()
                self.process.wait()
                self.process = None

    def tell(self, *words: str) -> str:
        """Run a command of `tailscale`."""
        program, option = str(BIN / "tailscaled"), f"--socket={self.socket}"
        return self.namespace.run("env", "TS_BE_CLI=1", program, option, *words)

    def join(self, key: str, *words: str) -> None:
        """Join the network."""
        options = ("--accept-dns=false", "--netfilter-mode=off", "--snat-subnet-routes=false")
        login = (f"--login-server=http://{CONTROL}:8080", f"--auth-key={key}")
        self.tell("up", *login, f"--hostname={self.name}", *options, *words)

    def status(self) -> dict[str, Any]:
        """What it says of the network."""
        status = json.loads(self.tell("status", "--json"))
        assert isinstance(status, dict)
        return status

    def knows_peers(self) -> bool:
        """Whether it is in a network that has others."""
        status = self.status()
        return status["BackendState"] == "Running" and bool(status["Peer"])

    def overlay(self, version: int = 4) -> str:
        """Its address in the overlay."""
        return self.tell("ip", f"-{version}").strip()


@dataclass
class Tailnet:
    """All of it."""

    control: Control
    laptop: Tailscaled
    gate: Tailscaled
    host: Namespace

    def join(self) -> None:
        """Have both nodes join, and the gate's subnet routed."""
        user = self.control.ask("users", "create", "alice")["id"]
        self.laptop.join(self.control.key("--user", str(user)), "--accept-routes")
        self.gate.join(self.control.key("--tags", "tag:gate"), f"--advertise-routes={SUBNET}")
        nodes = {node["name"]: node["id"] for node in self.control.ask("nodes", "list")}
        gate = str(nodes["gate"])
        self.control.ask("nodes", "approve-routes", "-i", gate, "-r", SUBNET)
        wait_for(self._knows_route, "the laptop knows that the gate routes the subnet")

    def _knows_route(self) -> bool:
        peers = (self.laptop.status()["Peer"] or {}).values()
        return any(SUBNET in peer.get("PrimaryRoutes", ()) for peer in peers)


@contextlib.contextmanager
def tailnet(folder: Path, environment: dict[str, str]) -> Iterator[Tailnet]:
    """Run headscale; the nodes are there, and not started."""
    with contextlib.ExitStack() as stack:
        control, laptop, gate, host = (stack.enter_context(Namespace()) for _ in range(4))
        _wire(control, laptop, gate, host)
        headscale = stack.enter_context(_headscale(control, folder))

        def node(name: str, number: int, namespace: Namespace) -> Tailscaled:
            made = Tailscaled(name, number, namespace, folder / name, environment)
            stack.callback(made.stop)
            return made

        yield Tailnet(headscale, node("laptop", 1, laptop), node("gate", 2, gate), host)


def _wire(control: Namespace, laptop: Namespace, gate: Namespace, host: Namespace) -> None:
    control.ip("link add br0 type bridge")
    control.quiet("br0")
    control.up("br0", f"{CONTROL}/24")
    for number, namespace in ((1, laptop), (2, gate)):
        connect(namespace, "lan0", control, f"node{number}")
        namespace.quiet("lan0")
        control.quiet(f"node{number}")
        control.ip(f"link set node{number} master br0")
        control.up(f"node{number}")
        namespace.up("lan0", f"192.0.2.{number}/24")
    connect(gate, "far0", host, "far0")
    for namespace, address in ((gate, "10.7.0.1/24"), (host, f"{HOST}/24")):
        namespace.quiet("far0")
        namespace.up("far0", address)
    host.ip("route add 100.64.0.0/10 via 10.7.0.1")
    gate.sysctl("net/ipv4/ip_forward", 1)
    for namespace in (laptop, gate):
        # The kernel does not talk by itself on interfaces that are made from now on.
        namespace.sysctl("net/ipv6/conf/default/addr_gen_mode", 1)
        wait_for(partial(namespace.carries, "lan0"), "the link is up")


@contextlib.contextmanager
def _headscale(namespace: Namespace, folder: Path) -> Iterator[Control]:
    config = CONFIG.format(control=CONTROL, folder=folder, region=REGION)
    (folder / "headscale.yaml").write_text(config)
    with (folder / "said-headscale").open("wb") as said:
        process = namespace.popen(
            str(BIN / "headscale"),
            "serve",
            "-c",
            str(folder / "headscale.yaml"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:

        def listens() -> bool:
            assert process.poll() is None, (folder / "said-headscale").read_text()
            with namespace.entered(), socket.socket() as asking:
                return asking.connect_ex((CONTROL, 8080)) == 0

        wait_for(listens, "headscale listens")
        yield Control(namespace, folder)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
