"""`netlog watch` beside wireguard-go, which nothing can be loaded into."""

import contextlib
import re
from pathlib import Path

import pytest

from tests.support.daemon_configs import needs
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import Running, summed
from tests.support.transfers import PIECE_BYTES, Transfer
from tests.support.watches import counts, watching
from tests.system.wireguards import PORT, tunnel

# wg makes the keys, and tells wireguard-go of them.
pytestmark = [pytest.mark.root, needs("wireguard-go", "wg")]

PIECES = 400
VIRTUAL = ("virtual", "subnet", "exit")


def udp_counts(namespace: Namespace) -> tuple[int, int]:
    """Datagrams that the namespace's sockets sent, and that came for them, dropped or not."""
    found = namespace.snmp()
    return found["UdpOutDatagrams"], found["UdpInDatagrams"] + found["UdpRcvbufErrors"]


def physical(running: Running) -> dict[tuple[str, str], int]:
    """Packets by source and destination."""
    found: dict[tuple[str, str], int] = {}
    for message in running.messages:
        for entry in message.get("physicalTraffic", ()):
            ends = entry.get("src", ""), entry["dst"]
            packets = entry.get("txPkts", 0) + entry.get("rxPkts", 0)
            found[ends] = found.get(ends, 0) + packets
    return found


def test_both_kinds_of_traffic_are_exact_also_when_the_peer_moves(tmp_path: Path) -> None:
    """Virtual traffic is the interface's, physical the socket's; the peer keeps its name."""
    config = tmp_path / "watch.toml"
    with tunnel(tmp_path) as (one, two):
        config.write_text(f"""
            source.type = "wireguard"
            source.interface = "{one.interface}"
            source.names."{two.public_key}" = "right"
        """)
        options = ("--tun", one.interface, "--sock", f"{PORT}@lan0", "--config", str(config))
        with watching(one.namespace, tmp_path / "watch", *options) as running:
            wait_for(lambda: counts(running, f"sock {PORT}@lan0"), "it is tapped")
            before = udp_counts(one.namespace)
            two.knows(one)
            one.knows(two)
            one.namespace.run("ping", "-c", "3", "-i", "0.2", "-W", "10", two.overlay)
            with contextlib.closing(
                Transfer(one.namespace, two.namespace, two.overlay)
            ) as transfer:
                transfer.move(PIECES // 2)
                two.namespace.ip("addr del 192.0.2.2/24 dev lan0")
                two.namespace.ip("addr add 192.0.2.3/24 dev lan0")
                two.set(f"listen-port {PORT}")  # or it would go on trying the old address
                # The first that is heard from there is what tells the other side.
                two.namespace.run("ping", "-c", "1", "-W", "10", one.overlay)
                transfer.move(PIECES // 2)
            assert running.stop() == 0
            kernel = one.namespace.counters(one.interface)
            after = udp_counts(one.namespace)
    tx_packets, tx_bytes, rx_packets, rx_bytes = summed(running.messages, *VIRTUAL)
    assert "0 dropped by the kernel (the ring ran full 0 times)" in running.said
    assert tx_packets == kernel.tx_packets + kernel.tx_dropped
    assert (rx_packets, rx_bytes) == (kernel.rx_packets, kernel.rx_bytes)
    assert tx_bytes == kernel.tx_bytes if not kernel.tx_dropped else tx_bytes > kernel.tx_bytes
    assert tx_bytes > PIECES * PIECE_BYTES
    assert summed(running.messages, "virtual")[0] == tx_packets
    sent = summed(running.messages, "physical")
    assert (sent[0], sent[2]) == (after[0] - before[0], after[1] - before[1])
    found = physical(running)
    assert set(found) == {
        ("100.64.0.2:0", f"192.0.2.2:{PORT}"),
        ("100.64.0.2:0", f"192.0.2.3:{PORT}"),
    }
    assert min(found.values()) > PIECES * PIECE_BYTES // 2 // 1500
    node = {"nodeId": two.public_key, "name": "right", "addresses": ["100.64.0.2"]}
    for message in running.messages:
        if "virtualTraffic" in message:
            assert message["srcNode"]["addresses"] == ["100.64.0.1"]
            assert message["dstNodes"] == [node]


def test_a_source_that_is_down_is_said_and_kept(tmp_path: Path) -> None:
    """Without its socket the watch goes on, by what it knew; the counters say how often."""
    options = ("--tun", "tun0", "--source", "wireguard:none-such")
    with Namespace() as namespace, watching(namespace, tmp_path, *options) as running:
        wait_for(lambda: "a message every" in running.said, "it runs")
        assert running.stop() == 0
    assert running.said.count("wireguard none-such: not available") == 1
    assert re.search("source: [1-9][0-9]* times? without an answer", running.said)
