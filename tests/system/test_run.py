"""`netlog run`: real gateways, each a process in a namespace of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netlog.display.units import counted as number_of
from netlog.model.addresses import join_endpoint
from tests.support import ROOT
from tests.support.gateways import joined
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import (
    COMMAND,
    CONFIG,
    Running,
    ask,
    both,
    has_lines,
    kernel,
    lines,
    relays,
    started,
    summed,
)
from tests.support.wire import captured

pytestmark = pytest.mark.root

UDP_SEGMENT = 103
BURST_BYTES, STREAM_BYTES = 40_000, 2_000_000
WITHOUT_TUN = str(Path(__file__).with_name("without_tun.py"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_all_traffic_is_in_the_messages(
    tmp_path: Path,
    number: signal.Signals,
    offload: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """Told to stop, a gateway emits its last period; the sum of all is what the kernel counted."""
    with both(tmp_path, offload=offload) as (a, b):
        ask(a, b)
        for running in (a, b):
            counted = kernel(running.counters())
            assert running.stop(number) == 0
            assert summed(running.messages, "virtual", "subnet", "exit") == counted
            assert counted[0] >= 40
        sent, received = summed(a.messages, "physical"), summed(b.messages, "physical")
        assert sent == (*received[2:], *received[:2])
        assert {message["nodeId"] for message in a.messages} == {"node-1"}


def pour(a: Running, b: Running, one: str, two: str) -> None:
    """Send a stream from behind a to behind b, and datagrams that are handed over as one."""
    family = socket.AF_INET6 if ":" in two else socket.AF_INET
    with b.namespace.entered():
        listener = socket.create_server((two, 0), family=family)
        other = socket.socket(family, socket.SOCK_DGRAM)
    with a.namespace.entered():
        user = socket.socket(family, socket.SOCK_DGRAM)
        sender = socket.socket(family)
    with listener, other, user, sender:
        for each, address in ((user, one), (other, two)):
            each.bind((address, 0))
            each.settimeout(20)
        user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        user.sendto(bytes(BURST_BYTES), other.getsockname())
        assert sum(len(other.recv(2000)) for _ in range(BURST_BYTES // 1000)) == BURST_BYTES
        sender.connect(listener.getsockname()[:2])
        receiver = listener.accept()[0]
        thread = threading.Thread(target=sender.sendall, args=(bytes(STREAM_BYTES),))
        thread.start()
        with receiver:
            receiver.settimeout(20)
            left = STREAM_BYTES
            while left:
                left -= len(receiver.recv(1 << 16))
            thread.join()


def by_connection(running: Running) -> dict[tuple[int, str, str], tuple[int, int, int, int]]:
    """The sums of what its messages have between overlay nodes."""
    entries: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for message in running.messages:
        for entry in message.get("virtualTraffic", ()):
            key = entry["proto"], entry["src"], entry["dst"]
            entries.setdefault(key, []).append({"virtualTraffic": [entry]})
    return {key: summed(found, "virtual") for key, found in entries.items()}


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_each_connection_is_in_the_messages(tmp_path: Path, offload: bool) -> None:  # noqa: FBT001 - pytest
    """In bulk: the sum of all messages is what a capture of the link has, by connection."""
    with both(tmp_path, offload=offload) as (a, b):
        looks: list[Any] = []

        def rests() -> bool:
            looks.append([kernel(running.counters()) for running in (a, b)])
            return len(looks) > 10 and all(look == looks[-1] for look in looks[-10:])

        with captured(a.namespace, b.namespace, 41641) as captures:
            pour(a, b, "100.64.0.1", "100.64.0.2")
            pour(b, a, "fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1")
            wait_for(rests, "the last acknowledgement has crossed")
        for running, capture in zip((a, b), captures, strict=True):
            reads = running.counters().tx_packets
            assert running.stop() == 0
            assert summed(running.messages, "physical") == tuple(capture.totals)
            assert by_connection(running) == {
                (
                    key.proto,
                    join_endpoint(str(key.src), key.src_port),
                    join_endpoint(str(key.dst), key.dst_port),
                ): counts
                for key, counts in capture.twin.flows.items()
            }
            assert not offload or capture.totals[0] > 2 * reads, "no super-packets were read"


def test_a_gateway_says_what_it_does_and_did(tmp_path: Path) -> None:
    """Standard error has a warning that nothing is encrypted, and in the end the counters."""
    with both(tmp_path) as (a, b):
        ask(a, b, rounds=3)
        with a.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"x", ("192.0.2.2", 41641))
        wait_for(lambda: stranger_was_seen(b), "the stranger's datagram is logged")
        assert b.stop() == 0
    assert "the relay does not encrypt" in b.said
    assert "netlog: sent to peers: 6 packets" in b.said
    assert "dropped: 1 unknown endpoint" in b.said
    assert "netlog: unattributed: none" in b.said
    assert (
        f"netlog: standard output: {number_of(len(b.messages), 'message')} written, 0 dropped"
        in b.said
    )


def is_gone(namespace: Namespace, interface: str) -> bool:
    """Whether an interface is gone."""
    return interface not in namespace.ip("link")


def stranger_was_seen(running: Running) -> bool:
    """Whether a message has a datagram of one byte."""
    lines = (running.folder / "stdout").read_bytes().splitlines()
    entries = [entry for line in lines for entry in json.loads(line).get("physicalTraffic", ())]
    return any(entry.get("rxBytes") == 1 for entry in entries)


def test_nothing_is_left_after_a_gateway(tmp_path: Path) -> None:
    """Interface and routes go with the process, also when it is killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with joined() as (left, _):
            routes = left.ip("route"), left.ip("-6 route")
            default = CONFIG.format(me=1, peer=2).replace('"100.64.0.2/32"', '"0.0.0.0/0"')
            with started(left, tmp_path / number.name, default + "[routes]\ndefault = true") as a:
                wait_for(partial(relays, a), "the gateway is up")
                assert "0.0.0.0/1 dev netlog0" in left.ip("route")
                a.stop(number)
            wait_for(partial(is_gone, left, "netlog0"), "the interface is gone")
            assert (left.ip("route"), left.ip("-6 route")) == routes


def test_a_full_disk_stops_no_traffic(tmp_path: Path) -> None:
    """A sink that fails is reported once and counted; the other sink and the traffic go on."""
    sinks = 'sinks = [{ type = "file", path = "/dev/full" }, { type = "file", path = "b.jsonl" }]\n'
    with both(tmp_path, sinks) as (a, b):
        for count in (1, 2):
            ask(a, b)
            wait_for(partial(has_lines, a, "b.jsonl", count), "messages are written")
        counted = kernel(a.counters())
        assert a.stop() == 0
    assert a.said.count("/dev/full: sink failed, will try again: OSError: [Errno 28]") == 1
    written = lines(a, "b.jsonl")
    assert f"netlog: /dev/full: 0 messages written, {written} dropped" in a.said
    assert f"netlog: b.jsonl: {number_of(written, 'message')} written, 0 dropped" in a.said
    messages = [json.loads(line) for line in (a.folder / "b.jsonl").read_text().splitlines()]
    assert summed(messages, "virtual", "subnet", "exit") == counted


def test_a_gateway_that_nobody_reads_ends(tmp_path: Path) -> None:
    """As in `netlog run CONFIG | head -1`: status 1, with the reason and without a traceback."""
    reader, writer = os.pipe()
    with (
        joined() as (left, _),
        started(left, tmp_path / "a", CONFIG.format(me=1, peer=2), stdout=writer) as a,
    ):
        os.close(writer)
        wait_for(lambda: relays(a), "the gateway is up")
        os.close(reader)
        with left.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
            user.sendto(b"x", ("100.64.0.2", 1))
        assert a.ended() == 1
    assert "standard output has lost its reader" in a.said


def test_a_reader_that_hangs_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    """A second Ctrl-C ends a gateway whose messages nobody takes."""
    reader, writer = os.pipe()
    with joined() as (left, _), contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        a = stack.enter_context(
            started(left, tmp_path / "a", CONFIG.format(me=1, peer=2), stdout=writer)
        )
        wait_for(lambda: relays(a), "the gateway is up")
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        os.close(writer)
        with left.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
            user.sendto(b"x", ("100.64.0.2", 1))
        a.process.send_signal(signal.SIGINT)
        relay_ended = f"/proc/{a.process.pid}/task"
        wait_for(lambda: not has_relay(relay_ended), "the relay has stopped")
        assert a.stop(signal.SIGINT) == 130
    assert a.said.endswith("netlog: second signal: exiting immediately\n")


def has_relay(tasks: str) -> bool:
    """Whether a process has the relay's threads."""
    names = []
    for task in Path(tasks).iterdir():
        with contextlib.suppress(OSError):  # it has ended in this moment
            names.append((task / "comm").read_text())
    return any(name.startswith(("netlog-tx", "netlog-rx")) for name in names)


def refusal(namespace: Namespace, folder: Path, config: str) -> str:
    """What a gateway that cannot start says; its status must be 1, and nothing be left."""
    links = namespace.ip("-o link").count("\n")
    with started(namespace, folder, config) as running:
        assert running.ended() == 1
        assert running.messages == []
    assert namespace.ip("-o link").count("\n") == links
    return running.said


def test_a_tun_name_in_use_is_a_clear_error(tmp_path: Path) -> None:
    """Whether another gateway has it or an interface of another kind."""
    config = CONFIG.format(me=1, peer=2)
    with joined() as (left, _):
        with started(left, tmp_path / "a", config) as a:
            wait_for(lambda: relays(a), "the gateway is up")
            said = refusal(left, tmp_path / "b", config.replace("41641", "41642"))
            assert "netlog: netlog0: Device or resource busy" in said
            assert "choose another tun.name" in said
        said = refusal(left, tmp_path / "c", config.replace("netlog0", "lan0"))
        assert "netlog: lan0: " in said
        assert "an interface of this name exists" in said


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    """The error has the address and the port, and the interface is gone again."""
    with joined() as (left, _), contextlib.ExitStack() as stack:
        with left.entered():
            other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        other.bind(("192.0.2.1", 41641))
        said = refusal(left, tmp_path / "a", CONFIG.format(me=1, peer=2))
    assert "netlog: udp 0.0.0.0:41641: Address already in use" in said
    assert "choose another port" in said


def test_an_address_of_another_machine_is_a_clear_error(tmp_path: Path) -> None:
    """The socket can only be bound to an address that is here."""
    config = CONFIG.format(me=1, peer=2).replace("0.0.0.0:41641", "192.0.2.9:41641")
    with joined() as (left, _):
        said = refusal(left, tmp_path / "a", config)
    assert "netlog: udp 192.0.2.9:41641: Cannot assign requested address" in said


def test_a_tunnel_through_itself_is_refused(tmp_path: Path) -> None:
    """A peer's endpoint that its own allowed IPs lead into the tunnel would loop."""
    config = CONFIG.format(me=1, peer=2).replace('"100.64.0.2/32"', '"192.0.2.2/32"')
    with joined() as (left, _):
        said = refusal(left, tmp_path / "a", config)
    assert "peer 192.0.2.2:41641: the tunnel would carry its own datagrams" in said


def test_a_route_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    """A prefix that leads elsewhere already is an error, and stays where it leads."""
    with joined() as (left, _):
        left.ip("route add 100.64.0.2/32 via 192.0.2.2")
        said = refusal(left, tmp_path / "a", CONFIG.format(me=1, peer=2))
        assert "via 192.0.2.2" in left.ip("route get 100.64.0.2")
    assert "netlog: route 100.64.0.2/32 dev netlog0: File exists" in said


def test_an_interface_that_somebody_removes_ends_the_gateway(tmp_path: Path) -> None:
    """The relay ends by itself; the gateway says why, emits the rest and exits with 1."""
    with both(tmp_path) as (a, b):
        ask(a, b, rounds=3)
        a.namespace.ip("link del netlog0")
        assert a.ended() == 1
        assert summed(a.messages, "physical")[0] >= 6
    assert "netlog: stopped unexpectedly: relay of netlog0: " in a.said


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        pytest.param(
            ("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
            "CAP_NET_ADMIN",
            id="no-capability",
        ),
        pytest.param(
            (sys.executable, WITHOUT_TUN),
            "sudo modprobe tun",
            id="no-device",
        ),
    ],
)
def test_a_missing_right_comes_with_how_to_get_it(
    tmp_path: Path, prefix: tuple[str, ...], said: str
) -> None:
    """Without the rights it says which, and what to do."""
    (tmp_path / "gateway.toml").write_text(CONFIG.format(me=1, peer=2))
    with Namespace() as namespace, namespace.entered():
        done = subprocess.run(
            [*prefix, *COMMAND, "gateway.toml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
