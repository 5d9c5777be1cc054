"""headscale and two tailscaled, each metered by `netlog watch` with the tailscale source."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from netlog.sources.tailscale.source import TailscaleSource
from tests.interop.metered_nodes import (
    BULK_BYTES,
    PINGS,
    Metered,
    Seen,
    Sums,
    await_direct,
    ping,
    run,
    watch_options,
)
from tests.interop.tailnet import CONTROL, HOST, PORT, REGION, TUN, tailnet
from tests.support.namespace import LinkCounters, wait_for
from tests.support.runs import lines, summed
from tests.support.watches import counts, watching

pytestmark = pytest.mark.root

TUN_CLASSES = ("virtual", "subnet", "exit")
TCP, ICMP, ICMP6 = 6, 1, 58
HEADERS_BYTES = 52
"""IPv4 20, TCP 20, time stamps 12: each further segment of a super-packet has its own."""

NO_GRO = {"TS_TUN_DISABLE_TCP_GRO": "true", "TS_TUN_DISABLE_UDP_GRO": "true"}
"""Have tailscaled write every packet by itself."""


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
            wait_for(lambda: "not available" in running.said, "the watch has asked")
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
            wait_for(lambda: gate in one.ip("route show table all"), "there is a route again")
            ping(one, gate)
            relayed = TailscaleSource(net.laptop.socket).snapshot()
            wait_for(lambda: "available again" in running.said, "the watch has asked")
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
    assert running.said.count("not available") == 1
    assert running.said.count("available again") == 1
    assert "times without an answer" in running.said
