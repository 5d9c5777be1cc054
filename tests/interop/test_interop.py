"""headscale and two tailscaled, each metered by `netlog watch` with the tailscale source."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from namespace import LinkCounters, Namespace, wait_for
from runs import Running, lines, summed
from tailnet import (
    CONTROL,
    HOST,
    PORT,
    REGION,
    TUN,
    Tailnet,
    Tailscaled,
    switch_off,
    tailnet,
)
from transfers import Transferred, transfer
from watches import counts, watching

from netlog.sources.tailscale import TailscaleSource

pytestmark = pytest.mark.root

TUN_CLASSES = ("virtual", "subnet", "exit")
BULK_BYTES = 8 << 20
PINGS = 3
QUIET_LOOKS = 20
TCP, ICMP, ICMP6 = 6, 1, 58
HEADERS_BYTES = 52
"""IPv4 20, TCP 20, time stamps 12: each further segment of a super-packet has its own."""

NO_GRO = {"TS_TUN_DISABLE_TCP_GRO": "true", "TS_TUN_DISABLE_UDP_GRO": "true"}
"""Have tailscaled write every packet by itself."""
SEGMENTATION = "tx-(tcp.*|udp|generic)-segmentation"

Sums = tuple[int, int, int, int]


@dataclass
class Metered:
    """A node and its watch."""

    node: Tailscaled
    running: Running
    tun: LinkCounters  # until the end: before the first packet
    udp: int  # likewise

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the watch has said."""
        return self.running.messages

    def drained(self) -> bool:
        """Whether no datagram waits for tailscaled to take it."""
        with self.node.namespace.entered():
            lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
        return not any(int(line.split()[4].partition(":")[2], 16) for line in lines)

    def entries(self, name: str) -> dict[tuple[int, str, str], Sums]:
        """The entries of a class of traffic, added up by connection."""
        found: dict[tuple[int, str, str], Sums] = {}
        members = ("txPkts", "txBytes", "rxPkts", "rxBytes")
        for message in self.messages:
            for entry in message.get(f"{name}Traffic", ()):
                key = entry.get("proto", 0), entry.get("src", ""), entry.get("dst", "")
                sums = zip(found.get(key, (0, 0, 0, 0)), members, strict=True)
                tx_packets, tx_bytes, rx_packets, rx_bytes = (
                    before + entry.get(member, 0) for before, member in sums
                )
                found[key] = (tx_packets, tx_bytes, rx_packets, rx_bytes)
        return found

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every node that is named in a message, by its id: as named last."""
        return {
            node["nodeId"]: node
            for message in self.messages
            for node in (message.get("srcNode", {}), *message.get("dstNodes", ()))
            if node
        }


@dataclass
class Seen:
    """What is left of a run: both nodes, and the transfers by the class they are of."""

    laptop: Metered
    gate: Metered
    virtual: list[Transferred]
    subnet: list[Transferred]
    overlay: dict[str, str]


def watch_options(node: Tailscaled) -> tuple[str, ...]:
    """What a user says on the command line; `tailscaled` has its socket at another place here."""
    return ("--tun", TUN, "--sock", f"{PORT}@lan0", "--source", f"tailscale:{node.socket}")


def udp_received(namespace: Namespace) -> int:
    """Datagrams that came for the sockets of a namespace, taken or dropped."""
    found = namespace.snmp()
    return found["UdpInDatagrams"] + found["UdpRcvbufErrors"]


def ping(source: Namespace, address: str) -> None:
    """Have some echoes come back."""
    source.run("ping", "-c", str(PINGS), "-i", "0.2", "-W", "20", address)


def unchanged(look: Callable[[], object]) -> Callable[[], bool]:
    """A condition: what is looked at was the same many times in a row."""
    last, times = look(), 0

    def holds() -> bool:
        nonlocal last, times
        now = look()
        times = times + 1 if now == last else 0
        last = now
        return times >= QUIET_LOOKS

    return holds


def await_direct(net: Tailnet) -> None:
    """Wait until both nodes reach each other straight, packets too."""
    for node, other in ((net.laptop, net.gate), (net.gate, net.laptop)):
        wait_for(node.knows_peers, "it knows its peer")
        node.tell("ping", "--c=60", "--timeout=1s", "--until-direct", other.overlay())


@contextlib.contextmanager
def metered(net: Tailnet, folder: Path, *, segments: bool) -> Iterator[tuple[Metered, Metered]]:
    """Both nodes and their watches, from before the first packet; then they join.

    `segments`: the kernel hands each segment to the interfaces by itself.
    """
    with contextlib.ExitStack() as stack:
        both = []
        for node in (net.laptop, net.gate):
            node.start()
            options = (*watch_options(node), "--node-id", node.name)
            at = folder / f"watch-{node.name}"
            running = stack.enter_context(watching(node.namespace, at, *options))
            for tap in (f"tun {TUN}", f"sock {PORT}@lan0"):
                wait_for(partial(counts, running, tap), "it is tapped")
            counters = node.namespace.counters(TUN)
            both.append(Metered(node, running, counters, udp_received(node.namespace)))
        net.join()
        await_direct(net)
        if segments:  # by now tailscaled has set up its interface as it wants it
            for node in (net.laptop, net.gate):
                switch_off(node.namespace, TUN, SEGMENTATION)
                switch_off(node.namespace, "lan0", SEGMENTATION)
        yield both[0], both[1]


def end(net: Tailnet, both: tuple[Metered, Metered]) -> None:
    """Stop the watches at a moment at which nothing is under way, then look at the counters.

    Both tailscaled are made to rest before, and let go on without a link: what they sent has come
    by then, and what they had not taken is taken, so that it is in the kernel's counters as it is
    in the messages.
    """
    for each in both:
        quiet = unchanged(partial(each.node.namespace.counters, TUN))
        wait_for(quiet, "the tunnel is quiet")
    for each in both:
        assert each.node.process is not None
        each.node.process.send_signal(signal.SIGSTOP)
    for each in both:
        assert each.running.stop() == 0
        net.control.namespace.ip(f"link set node{each.node.number} down")
    for each in both:
        assert each.node.process is not None
        each.node.process.send_signal(signal.SIGCONT)
        wait_for(each.drained, "all is taken")
        each.udp = udp_received(each.node.namespace) - each.udp
        now = astuple(each.node.namespace.counters(TUN))
        each.tun = LinkCounters(*(a - b for a, b in zip(now, astuple(each.tun), strict=True)))


def run(folder: Path, environment: dict[str, str], *, segments: bool) -> Seen:
    """Pings and bulk transfers, both ways, between the nodes and to the host behind one."""
    with (
        tailnet(folder, environment) as net,
        metered(net, folder, segments=segments) as (laptop, gate),
    ):
        one, two = net.laptop.namespace, net.gate.namespace
        overlay = {node.name: node.overlay() for node in (net.laptop, net.gate)}
        ping(one, overlay["gate"])
        ping(two, overlay["laptop"])
        ping(one, net.gate.overlay(6))
        ping(one, HOST)
        ping(net.host, overlay["laptop"])
        virtual = [
            transfer(one, two, overlay["gate"], BULK_BYTES),
            transfer(two, one, overlay["laptop"], BULK_BYTES),
        ]
        subnet = [
            transfer(one, net.host, HOST, BULK_BYTES),
            transfer(net.host, one, overlay["laptop"], BULK_BYTES, port=6001),
        ]
        end(net, (laptop, gate))
    return Seen(laptop, gate, virtual, subnet, overlay)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A run in which a packet is a packet for the kernel's counters too."""
    return run(tmp_path_factory.mktemp("plain"), NO_GRO, segments=True)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A run with everything as tailscaled has it: super-packets at the TUN and at the socket."""
    return run(tmp_path_factory.mktemp("stock"), {}, segments=False)


@pytest.fixture(params=["plain", "stock"])
def seen(request: pytest.FixtureRequest) -> Seen:
    """Either of them."""
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Seen)
    return made


def test_every_packet_is_in_the_messages(plain: Seen) -> None:
    """At the TUN they equal the kernel's counters, at the socket the datagrams that came for it."""
    for each in (plain.laptop, plain.gate):
        assert "0 dropped by the kernel (the ring ran full 0 times)" in each.running.said
        tx_packets, tx_bytes, rx_packets, rx_bytes = summed(each.messages, *TUN_CLASSES)
        assert tx_packets == each.tun.tx_packets + each.tun.tx_dropped
        assert tx_bytes == each.tun.tx_bytes if not each.tun.tx_dropped else True
        assert (rx_packets, rx_bytes) == (each.tun.rx_packets, each.tun.rx_bytes)
        assert min(tx_bytes, rx_bytes) > 4 * BULK_BYTES
        assert summed(each.messages, "physical")[2] == each.udp


def test_super_packets_count_as_their_segments(stock: Seen) -> None:
    """As many segments as the kernel's TCP counted; the kernel's counters have super-packets."""
    for each in (stock.laptop, stock.gate):
        tx_packets, tx_bytes, rx_packets, rx_bytes = summed(each.messages, *TUN_CLASSES)
        assert not each.tun.tx_dropped
        for packets, n_bytes, kernel_packets, kernel_bytes in (
            (tx_packets, tx_bytes, each.tun.tx_packets, each.tun.tx_bytes),
            (rx_packets, rx_bytes, each.tun.rx_packets, each.tun.rx_bytes),
        ):
            assert packets > 2 * kernel_packets
            assert n_bytes - kernel_bytes == (packets - kernel_packets) * HEADERS_BYTES


def test_a_connection_has_the_segments_that_its_end_counted(seen: Seen) -> None:
    """By connection, at both nodes, in both directions: `tcpi_segs_out` of both its sockets."""
    laptop, gate = seen.overlay["laptop"], seen.overlay["gate"]
    to_gate, to_laptop = seen.virtual
    to_host, from_host = seen.subnet
    found = {name: seen.laptop.entries(name) for name in ("virtual", "subnet")}
    for name, near, far, sent, received in (
        ("virtual", f"{laptop}:{to_gate.port}", f"{gate}:6000", to_gate.up, to_gate.down),
        ("virtual", f"{laptop}:6000", f"{gate}:{to_laptop.port}", to_laptop.down, to_laptop.up),
        ("subnet", f"{laptop}:{to_host.port}", f"{HOST}:6000", to_host.up, to_host.down),
        ("subnet", f"{laptop}:6001", f"{HOST}:{from_host.port}", from_host.down, from_host.up),
    ):
        tx_packets, tx_bytes, rx_packets, rx_bytes = found[name][TCP, near, far]
        assert (tx_packets, rx_packets) == (sent, received)
        assert min(tx_bytes, rx_bytes) > BULK_BYTES
        mirrored = seen.gate.entries(name)[TCP, far, near]
        assert mirrored == (rx_packets, rx_bytes, tx_packets, tx_bytes)


def test_both_nodes_tell_the_same_story(seen: Seen) -> None:
    """What one sent the other received: by connection in the tunnel, and by peer beneath it."""
    for name in ("virtual", "subnet"):
        far = seen.gate.entries(name)
        mirrored = {
            (proto, dst, src): (*sums[2:], *sums[:2]) for (proto, src, dst), sums in far.items()
        }
        assert seen.laptop.entries(name) == mirrored
    for node, other in ((seen.laptop, seen.gate), (seen.gate, seen.laptop)):
        sent = datagrams(node, f"{other.node.underlay}:{PORT}")
        received = datagrams(other, f"{node.node.underlay}:{PORT}")
        assert sent[:2] == received[2:]


def datagrams(metered: Metered, endpoint: str) -> Sums:
    """What was exchanged with an endpoint, whoever is said to be behind it."""
    found = [sums for (_, _, dst), sums in metered.entries("physical").items() if dst == endpoint]
    tx_packets, tx_bytes, rx_packets, rx_bytes = (
        sum(column) for column in zip(*found, strict=True)
    )
    return tx_packets, tx_bytes, rx_packets, rx_bytes


def test_physical_traffic_is_by_peer(seen: Seen) -> None:
    """Its source is the peer's overlay address; a datagram for each packet, and some more."""
    for node, other in ((seen.laptop, seen.gate), (seen.gate, seen.laptop)):
        found = node.entries("physical")
        peer = f"{seen.overlay[other.node.name]}:0", f"{other.node.underlay}:{PORT}"
        known = {(src, dst) for _, src, dst in found if src}
        assert known == {peer}
        assert {dst for _, src, dst in found if not src} <= {peer[1], f"{CONTROL}:3478"}
        total, by_peer = datagrams(node, peer[1]), found[0, *peer]
        # Before the first answer of tailscaled the two have only found each other.
        assert total[0] - by_peer[0] < 20
        carried = summed(node.messages, "virtual", "subnet")
        assert carried[0] <= by_peer[0] < carried[0] + 100
        assert carried[2] <= by_peer[2] < carried[2] + 100
        assert by_peer[1] > carried[1] + 32 * carried[0]


def test_messages_name_the_nodes(seen: Seen) -> None:
    """With names, addresses, system, and a user or tags; traffic is of the class it belongs to."""
    laptop, gate = (
        {"nodeId": node_id, "name": f"{name}.tail.example", "os": "linux"}
        for node_id, name in (("1", "laptop"), ("2", "gate"))
    )
    laptop["user"], gate["tags"] = "alice", ["tag:gate"]  # type: ignore[assignment]
    for metered, own in ((seen.laptop, "1"), (seen.gate, "2")):
        named = metered.nodes()
        for node_id, expected, name in (("1", laptop, "laptop"), ("2", gate, "gate")):
            addresses = named[node_id].pop("addresses")
            assert addresses[0] == seen.overlay[name]
            assert named[node_id] == expected
        last = metered.messages[-1]
        assert last["srcNode"]["nodeId"] == own
    assert {proto for proto, *_ in seen.laptop.entries("virtual")} == {TCP, ICMP, ICMP6}
    assert {proto for proto, *_ in seen.laptop.entries("subnet")} == {TCP, ICMP}
    for metered in (seen.laptop, seen.gate):
        assert not any(metered.entries("exit"))
    icmp = ICMP, f"{seen.overlay['laptop']}:0", f"{HOST}:0"
    echoes = seen.laptop.entries("subnet")[icmp]
    assert (echoes[0], echoes[2]) == (2 * PINGS, 2 * PINGS)


def test_a_tailscaled_that_is_away_is_said_and_its_last_answer_holds(tmp_path: Path) -> None:
    """What comes for it meanwhile has the peer's address; then all goes on, over a relay too."""
    with tailnet(tmp_path, {}) as net:
        for node in (net.laptop, net.gate):
            node.start()
        net.join()
        await_direct(net)
        one, gate = net.laptop.namespace, net.gate.overlay()
        ping(one, gate)
        options = (*watch_options(net.laptop), "--poll-period", "0.2")
        with watching(one, tmp_path / "watch", *options) as running:
            wait_for(lambda: counts(running, f"tun {TUN}"), "it is tapped")
            wait_for(lambda: counts(running, f"sock {PORT}@lan0"), "it is tapped")
            laptop = net.laptop.overlay()
            net.laptop.stop()
            wait_for(lambda: "can not be had" in running.said, "the watch has asked")
            before = lines(running, "stdout")
            unheard = ("ping", "-c", "3", "-i", "0.2", "-W", "1", laptop)
            net.gate.namespace.popen(*unheard, stdout=subprocess.DEVNULL).wait(60)
            wait_for(lambda: lines(running, "stdout") > before, "what came for it is in a message")
            after = lines(running, "stdout")
            for node in (net.laptop, net.gate):
                node.stop()
                node.environment = {"TS_DEBUG_ALWAYS_USE_DERP": "true"}
                node.start()
            wait_for(lambda: counts(running, f"tun {TUN}", 2), "it is tapped again")
            for node in (net.laptop, net.gate):
                wait_for(node.knows_peers, "it is back")
            ping(one, gate)
            relayed = TailscaleSource(net.laptop.socket).snapshot()
            wait_for(lambda: "can be had again" in running.said, "the watch has asked")
            assert running.stop() == 0
    of_then = replace(running, messages=running.messages[before:after])
    meanwhile = Metered(net.laptop, of_then, LinkCounters(0, 0, 0, 0, 0, 0), 0)
    endpoint = f"{net.gate.underlay}:{PORT}"
    assert {src for _, src, dst in meanwhile.entries("physical") if dst == endpoint} == {
        f"{gate}:0"
    }
    assert meanwhile.nodes()["2"]["name"] == "gate.tail.example"
    later = replace(meanwhile, running=replace(running, messages=running.messages[after:]))
    echoes = later.entries("virtual")[ICMP, f"{laptop}:0", f"{gate}:0"]
    assert (echoes[0], echoes[2]) == (PINGS, PINGS)
    assert [peer.endpoint for peer in relayed.peers] == [f"127.3.3.40:{REGION}"]
    assert running.said.count("can not be had") == 1
    assert running.said.count("can be had again") == 1
    assert "times without an answer" in running.said
