"""`netlog run` with several gateways: a relay, a daemon that is started, and taps."""

import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_configs import needs
from tests.support.gateways import joined
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import CONFIG, Running, ask, kernel, relays, started, summed

pytestmark = [pytest.mark.root, needs("socat")]

VIRTUAL = ("virtual", "subnet", "exit")
TIMES = 5
SOCAT = (
    "socat",
    "TUN:100.65.0.1/24,tun-name=tun1,tun-type=tun,iff-no-pi,up",
    "UDP-DATAGRAM:192.0.2.2:5555,bind=192.0.2.1:5555",
)

RELAY = """
[[gateways]]
poll_period_s = 0.2
exit_traffic = "log"
node.id = "relay"
tun = { name = "netlog0", addresses = ["100.64.0.1/32", "fd7a:115c:a1e0::1/128"] }
sock.listen = "0.0.0.0:41641"
sinks = [{ type = "file", path = "relay.jsonl" }]
[[gateways.peers]]
endpoint = "192.0.2.2:41641"
allowed_ips = ["100.64.0.2/32", "fd7a:115c:a1e0::2/128"]
"""
EXEC = f"""
[[gateways]]
type = "exec"
poll_period_s = 0.2
node.id = "exec"
routes.overlay = ["100.65.0.0/24"]
command = {json.dumps(SOCAT)}
sinks = [{{ type = "file", path = "exec.jsonl" }}, {{ type = "stdout" }}]
"""
WATCH = """
[[gateways]]
type = "watch"
poll_period_s = 0.2
exit_traffic = "log"
node.id = "watch"
tun.name = "netlog0"
socks = [{ port = 41641, interface = "lan0" }]
sinks = [{ type = "stdout" }]
"""
ENDS = """
[[gateways]]
type = "exec"
node.id = "ends"
command = ["sh", "-c", "exit 3"]
sinks = [{ type = "file", path = "ends.jsonl" }]
"""


def messages(folder: Path, name: str) -> list[dict[str, Any]]:
    """What a file sink has."""
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@contextlib.contextmanager
def underlay() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a link; on the left an interface that outlives its daemon."""
    with joined() as (left, right):
        left.ip("tuntap add dev tun1 mode tun")
        left.sysctl("net/ipv6/conf/tun1/disable_ipv6", 1)
        yield left, right


def send(namespace: Namespace, packets: int) -> None:
    """Send datagrams to nobody behind the daemon, and wait until it has read them."""
    before = namespace.counters("tun1").tx_packets
    with namespace.entered():
        user = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with user:
        for _ in range(packets):
            user.sendto(bytes(100), ("100.65.0.2", 9))
    wait_for(
        lambda: namespace.counters("tun1").tx_packets == before + packets, "the daemon has them"
    )


def daemons(namespace: Namespace) -> list[int]:
    """The processes of socat in a namespace."""
    with namespace.entered():
        own = Path("/proc/thread-self/ns/net").stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            if (entry / "comm").read_text() == "socat\n" and (
                entry / "ns/net"
            ).stat().st_ino == own:
                found.append(pid)
    return found


def carries(namespace: Namespace) -> bool:
    """Whether the daemon has its interface."""
    return "LOWER_UP" in namespace.ip("link show dev tun1")


def greeted(running: Running, gateways: int) -> bool:
    """Whether so many gateways are up."""
    assert running.process.poll() is None, running.said
    return running.said.count("a message every") == gateways


def test_three_gateways_side_by_side(tmp_path: Path) -> None:
    """Each meters its own, to its own sinks and all to standard output; SIGTERM ends all."""
    config = RELAY + EXEC + WATCH
    with underlay() as (left, right), contextlib.ExitStack() as stack:
        a = stack.enter_context(started(left, tmp_path / "a", config))
        other = CONFIG.format(me=2, peer=1)
        b = stack.enter_context(started(right, tmp_path / "b", other))
        wait_for(lambda: greeted(a, 3), "the gateways are up")
        wait_for(lambda: relays(b), "the other one is up")
        wait_for(lambda: carries(left), "the daemon is up")
        ask(a, b)
        send(left, 50)
        counted, of_daemon = kernel(a.counters()), kernel(left.counters("tun1"))
        (daemon,) = daemons(left)
        assert a.stop() == 0
        assert not Path(f"/proc/{daemon}").exists()
    relayed, executed = messages(a.folder, "relay.jsonl"), messages(a.folder, "exec.jsonl")
    watched = [message for message in a.messages if message["nodeId"] == "watch"]
    assert summed(relayed, *VIRTUAL) == counted
    assert summed(watched, *VIRTUAL) == counted
    assert summed(watched, "physical") == summed(relayed, "physical")
    assert summed(executed, *VIRTUAL) == of_daemon
    assert of_daemon[0] == 50
    assert executed == [message for message in a.messages if message["nodeId"] == "exec"]
    # Both ends are the overlay's: the interface's own address is known, too.
    ends = {entry["src"] for each in executed for entry in each["virtualTraffic"]}
    assert {end.rpartition(":")[0] for end in ends} == {"100.65.0.1"}
    for name in ("relay", "exec", "watch"):
        assert f"netlog: {name}: messages: " in a.said


def test_a_daemon_that_ends_leaves_the_others_alone(tmp_path: Path) -> None:
    """Its end is said and is status 1 in the end; what else there is goes on."""
    with underlay() as (left, _), started(left, tmp_path / "a", ENDS + EXEC) as a:
        stopped = "ends: stopped unexpectedly: sh: exited with status 3"
        wait_for(lambda: stopped in a.said, "it is said")
        wait_for(lambda: carries(left), "the other is up")
        send(left, 20)
        assert a.stop() == 1
        assert summed(messages(a.folder, "exec.jsonl"), *VIRTUAL)[0] == 20


def test_all_that_ended_end_the_command(tmp_path: Path) -> None:
    """When nothing is left to do, it ends."""
    with underlay() as (left, _), started(left, tmp_path / "a", ENDS) as a:
        assert a.ended() == 1


def test_one_that_can_not_start_ends_those_before_it(tmp_path: Path) -> None:
    """The daemon that was started is ended, and the reason is said."""
    with underlay() as (left, _):
        left.ip("tuntap add dev netlog0 mode tap")
        with started(left, tmp_path / "a", EXEC + RELAY) as a:
            assert a.ended() == 1
        assert "netlog0: " in a.said
        assert daemons(left) == []


def test_a_daemon_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """After ten seconds, and it is said."""
    config = ENDS.replace("exit 3", "trap : TERM; echo ready >&2; while :; do sleep 1; done")
    with underlay() as (left, _), started(left, tmp_path / "a", config) as a:
        wait_for(lambda: "ready\n" in a.said, "it runs")
        assert a.stop() == 0
        assert "killed: it did not end within 10 s" in a.said


def test_a_netlog_that_is_killed_is_succeeded(tmp_path: Path) -> None:
    """The daemon runs on, the next netlog takes it over, and each packet is counted once."""
    meter = f'meter = "{tmp_path}/run/meter"\n'
    config = EXEC.replace("poll_period_s = 0.2\n", "poll_period_s = 0.2\n" + meter)
    with underlay() as (left, _):
        first = None
        for _ in range(TIMES):
            with started(left, tmp_path / "a", config) as a:
                wait_for(lambda: greeted(a, 1), "it runs")
                wait_for(lambda: carries(left), "the daemon is up")
                (daemon,) = daemons(left)
                assert daemon == (first or daemon)
                first = daemon
                send(left, 20)
                a.process.send_signal(signal.SIGKILL)
                a.process.wait()
            send(left, 20)
        with started(left, tmp_path / "a", config) as a:
            wait_for(lambda: greeted(a, 1), "it runs")
            assert "already running; metering continues" in a.said
            assert a.stop() == 0
        assert daemons(left) == []
        counted = summed(messages(a.folder, "exec.jsonl"), *VIRTUAL)
        assert counted == kernel(left.counters("tun1"))
        assert counted[0] == TIMES * 40
