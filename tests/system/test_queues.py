"""Several queues of a TUN and several sockets on a port, each with threads of its own."""

import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlog import DeviceError, Logger, Meter, PacketBatch, Relay, SockDevice, TunDevice
from netlog._native import lib
from tests.support.gateways import (
    PORT,
    Gateway,
    have_crossed,
    kernel_totals,
    open_descriptors,
    pair,
    relay_threads,
    taken,
    tcp_is_over,
    totals,
)
from tests.support.meter_twin import connections
from tests.support.namespace import Namespace, wait_for
from tests.support.runs import both, kernel, summed
from tests.support.wire import captured
from tests.system.crossing import everything, fit_into_lan0

pytestmark = pytest.mark.root

FLOWS = 64
ROUNDS = 3
UNKNOWN = 9999
"""A flag and an option that no kernel knows: so it refuses what it has as what it has not."""


@pytest.fixture(name="namespace")
def _namespace() -> Iterator[Namespace]:
    with Namespace() as namespace:
        namespace.ip("link set lo up")
        yield namespace


@contextlib.contextmanager
def opened(namespace: Namespace, count: int, meter: Meter) -> Iterator[list[TunDevice]]:
    """The queues of a TUN that is up."""
    with contextlib.ExitStack() as stack:
        with namespace.entered():
            tuns = TunDevice.open_queues("tun0", count, meter=meter)
        for tun in tuns:
            stack.enter_context(tun)
        namespace.quiet("tun0")
        namespace.up("tun0", "100.64.0.1/24")
        yield tuns


def queues_of_flows(devices: list[TunDevice] | list[SockDevice]) -> list[Counter[bytes]]:
    """Read all that is there; for each device, how often each flow's payload was met."""
    batch, found = PacketBatch(64), []
    for device in devices:
        seen: Counter[bytes] = Counter()
        read = device.read_batch if isinstance(device, TunDevice) else device.recv_batch
        while read(batch):
            seen.update(bytes(batch.packet(i)[-2:]) for i in range(batch.count))
        found.append(seen)
    return found


def test_a_flow_stays_on_its_queue(namespace: Namespace) -> None:
    """Each flow's packets come out of one queue, all queues have some, and the meter has all."""
    with Meter() as meter, opened(namespace, 3, meter) as tuns:
        assert len(tuns) == 3
        for flow in range(FLOWS):
            with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
                user.connect(("100.64.0.2", 1000 + flow))
                for _ in range(ROUNDS):
                    user.send(flow.to_bytes(2))
        found = queues_of_flows(tuns)
        assert all(found)
        assert sum(found, Counter()) == {flow.to_bytes(2): ROUNDS for flow in range(FLOWS)}
        assert sum(map(len, found)) == FLOWS
        assert taken(meter)[0] == kernel_totals(namespace.counters("tun0"))


def test_a_remote_stays_on_its_socket(namespace: Namespace) -> None:
    """Each remote's datagrams come to one socket of a group, all have some, the meter has all."""
    with namespace.entered(), contextlib.ExitStack() as stack:
        meter = stack.enter_context(Meter())
        socks = SockDevice.bind_group("127.0.0.1", 0, 3, meter=meter)
        for sock in socks:
            stack.enter_context(sock)
        assert len({sock.address for sock in socks}) == 1
        for flow in range(FLOWS):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as remote:
                for _ in range(ROUNDS):
                    remote.sendto(flow.to_bytes(2), socks[0].address)
        found = queues_of_flows(socks)
        assert all(found)
        assert sum(found, Counter()) == {flow.to_bytes(2): ROUNDS for flow in range(FLOWS)}
        assert sum(map(len, found)) == FLOWS
        assert taken(meter)[1] == (0, 0, FLOWS * ROUNDS, 2 * FLOWS * ROUNDS)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_nobody_is_on_the_port_before(namespace: Namespace, shared: bool) -> None:  # noqa: FBT001
    """A port that somebody has is refused, also where that one would share it; nothing is left."""
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        other.bind(("127.0.0.1", 0))
        with Meter() as meter:
            held = open_descriptors()
            with pytest.raises(DeviceError) as caught:
                SockDevice.bind_group("127.0.0.1", other.getsockname()[1], 2, meter=meter)
            assert caught.value.errno == errno.EADDRINUSE
            assert open_descriptors() == held


@pytest.mark.parametrize("count", [0, 257])
def test_counts_that_can_not_be(namespace: Namespace, count: int) -> None:
    """No queue, and more than the kernel gives, are refused before anything is opened."""
    with namespace.entered():
        with pytest.raises(ValueError, match="1 to 256 queues"):
            TunDevice.open_queues("tun0", count)
        with pytest.raises(ValueError, match="1 to 256 sockets"):
            SockDevice.bind_group("127.0.0.1", 0, count)


def test_as_many_of_one_kind_as_of_the_other(namespace: Namespace) -> None:
    """A relay takes pairs of queues, and of one meter only."""
    with (
        Meter() as meter,
        opened(namespace, 2, meter) as tuns,
        namespace.entered(),
        SockDevice.bind("127.0.0.1", 0, meter=meter) as sock,
        SockDevice.bind("127.0.0.1", 0) as other,
    ):
        with pytest.raises(ValueError, match="got 1 sockets and 2 queues"):
            Relay(tuns, sock, [])
        with pytest.raises(ValueError, match="different meters"):
            Relay(tuns, [sock, other], [])


def test_a_logger_begins_and_ends_all_queues(namespace: Namespace) -> None:
    """A logger that is given one queue has all of its meter count, and none when it has stopped."""
    with Meter() as meter, opened(namespace, 2, meter) as tuns:
        for tun in tuns:
            tun.set_statistics_enabled(enabled=False)
        logger = Logger()
        logger.startup("node", tun=tuns[0], sock=None, sink=lambda _: None, poll_period_s=60)
        wait_for(lambda: [counts(tun) for tun in tuns] == [True, True], "both count")
        logger.shutdown()
        assert [counts(tun) for tun in tuns] == [False, False]


def counts(tun: TunDevice) -> bool:
    """Whether a device counts."""
    return bool(lib.netlog_tun_statistics(tun.handle))


def flood(a: Gateway, b: Gateway) -> None:
    """Send on many flows at once, and receive all of it."""
    with b.udp(b.overlay4) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for number in range(FLOWS):
            with a.udp(a.overlay4) as sender:
                sender.sendto(number.to_bytes(2), receiver.getsockname())
        assert {receiver.recv(9) for _ in range(FLOWS)} == {n.to_bytes(2) for n in range(FLOWS)}


def flooded_threads(a: Gateway, b: Gateway, threads: list[Path]) -> int:
    """How many threads have run more than to begin, after many flows more."""
    flood(a, b)
    flood(b, a)
    return sum(int((task / "schedstat").read_text().split()[2]) > 3 for task in threads)


def test_two_queues_relay_exactly() -> None:
    """What two relays of two queues each move is what the kernels counted, without offloads."""
    with pair(queues=2) as (a, b):
        with a.relay() as left, b.relay() as right:
            threads = relay_threads()
            assert len(threads) == 8
            everything(a, b)
            # The datagrams of the one peer come to one socket of each: its partner's thread rests.
            wait_for(lambda: flooded_threads(a, b, threads) >= 6, "all queues have sent")
            wait_for(lambda: tcp_is_over(a, b), "no TCP connection is left")
            wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
        for side, relay in ((a, left), (b, right)):
            counted = kernel_totals(side.namespace.counters("tun0"))
            assert taken(side.meter) == (counted, counted)
            moved = relay.counters()
            assert (moved.tx.packets, moved.rx.packets) == (counted[0], counted[2])


def test_two_queues_with_offloads_count_the_wires_packets() -> None:
    """With super-packets on both queues, each connection has what crosses the link."""
    with pair(offload=True, queues=2) as (a, b):
        fit_into_lan0(a, b)
        with (
            captured(a.namespace, b.namespace, PORT) as captures,
            a.relay() as left,
            b.relay() as right,
        ):
            flood(a, b)
            everything(a, b)
            wait_for(lambda: tcp_is_over(a, b), "no TCP connection is left")
            wait_for(lambda: have_crossed(left, right), "the last TCP packets have crossed")
        for side, capture in zip((a, b), captures, strict=True):
            snapshot = side.meter.snapshot(timeout_s=20)
            assert connections(snapshot.tun_rows()) == capture.twin.flows
            assert totals(snapshot.sock_rows()) == tuple(capture.totals)


def test_an_interface_that_goes_ends_all_threads() -> None:
    """Somebody removes the interface under four threads: all end, and the relay says why."""
    with pair(queues=2) as (a, _), a.relay() as relay:
        a.namespace.ip("link del tun0")
        assert relay.wait(20)
        assert isinstance(relay.error, DeviceError)
        assert relay.error.errno == errno.EBADFD
        # They say that they have ended right before they do.
        wait_for(lambda: not relay_threads(), "all threads are gone")


def test_closing_one_queue_stops_the_relay() -> None:
    """A device that is closed while the relay runs stops it, whichever it is; the others live."""
    with pair(queues=2) as (a, _), a.relay() as relay:
        a.tuns[1].close()
        assert not relay.running
        assert "closed" in str(relay.error)
        assert not a.tuns[0].closed


def test_a_whole_gateway_of_two_queues(tmp_path: Path) -> None:
    """`netlog run` with `queues = 2` at one end: the messages are what the kernels counted."""
    with both(tmp_path, offload=False, queues=2) as (a, b):
        send_on_many(a.namespace)
        wait_for(lambda: b.counters().rx_packets >= FLOWS, "all flows have crossed")
        for running in (a, b):
            counted = kernel(running.counters())
            assert running.stop() == 0
            assert summed(running.messages, "virtual", "subnet", "exit") == counted
            assert max(counted) >= FLOWS


def send_on_many(namespace: Namespace) -> None:
    """A datagram on each of many flows, to the other node."""
    for number in range(FLOWS):
        with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
            user.sendto(bytes(2), ("100.64.0.2", 6000 + number))


def test_a_kernel_without_queues(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without IFF_MULTI_QUEUE or SO_REUSEPORT there is one of each, which is said once."""
    caplog.set_level("INFO", "netlog")
    monkeypatch.setattr("netlog.devices.tun_open.IFF_MULTI_QUEUE", 0x0008)
    monkeypatch.setattr("netlog.devices.sock.SO_REUSEPORT", UNKNOWN)
    with namespace.entered():
        (tun,) = TunDevice.open_queues("tun0", 4)
        (sock,) = SockDevice.bind_group("127.0.0.1", 0, 4)
    with tun, sock:
        pass
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "1 of the 4 requested queues" in said[0]
    assert "no SO_REUSEPORT" in said[1]


def test_an_interface_made_for_one_queue(
    namespace: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A persistent TUN of one queue is used with one, and one of several with several."""
    caplog.set_level("INFO", "netlog")
    namespace.ip("tuntap add dev one mode tun")
    namespace.ip("tuntap add dev many mode tun multi_queue")
    with namespace.entered():
        (tun,) = TunDevice.open_queues("one", 2)
        several = TunDevice.open_queues("many", 2)
    assert len(several) == 2
    for each in (tun, *several):
        each.close()
    (record,) = caplog.records
    assert record.getMessage() == "one: opened 1 of the 2 requested queues"
