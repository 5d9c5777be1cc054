"""The nodes of a tailnet and the watches on them, for the tests: a run, and what is left of it."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.interop.tailnet import HOST, PORT, TUN, Tailnet, Tailscaled, switch_off, tailnet
from tests.interop.transfers import Counted, Transfer
from tests.support.namespace import LinkCounters, Namespace, wait_for
from tests.support.runs import Running
from tests.support.watches import counts, watching

BULK_BYTES = 8 << 20
PINGS = 3
QUIET_LOOKS = 20
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
    virtual: list[Counted]
    subnet: list[Counted]
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
        transfers = [
            Transfer(one, two, overlay["gate"], 6000),
            Transfer(two, one, overlay["laptop"], 6000),
            Transfer(one, net.host, HOST, 6000),
            Transfer(net.host, one, overlay["laptop"], 6001),
        ]
        for each in transfers:
            each.move(BULK_BYTES)
        end(net, (laptop, gate))
        counted = [each.end() for each in transfers]
    return Seen(laptop, gate, counted[:2], counted[2:], overlay)
