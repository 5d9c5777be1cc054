"""The logger: every packet that its devices counted is in one message, and only in one."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netlog
from netlog.messages.build import Message
from netlog.model.flows import FlowArray

UDP4 = bytes.fromhex("4500001c000000004011000064400001 64400002 03e80035 00080000".replace(" ", ""))
ROUTES = netlog.RouterConfig(local_addrs=("100.64.0.1/32",), routes=("100.64.0.0/10",))


class MeterDevice:
    """An observation point of the user's own, in front of a real meter."""

    def __init__(self, meter: netlog.Meter) -> None:
        self.meter = meter
        self.enabled = False

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - the protocol's own
        """Begin or end to count."""
        self.enabled = enabled

    def extract_statistics(self) -> FlowArray:
        """Not called for a device that has a meter."""
        raise AssertionError("read through its meter")


class ListDevice:
    """An observation point that knows its rows without a meter."""

    def __init__(self, *extractions: FlowArray | Exception) -> None:
        self.extractions = list(extractions)
        self.enabled: list[bool] = []

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - the protocol's own
        """Note it."""
        self.enabled.append(enabled)

    def extract_statistics(self) -> FlowArray:
        """The next extraction."""
        rows = self.extractions.pop(0) if self.extractions else netlog.flow_array([])
        if isinstance(rows, Exception):
            raise rows
        return rows


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a state; a minute without it is a failure."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def total(messages: list[Message], name: str) -> int:
    """Sum of one counter over all traffic inside the tunnel."""
    return sum(
        int(rows[name].sum())
        for m in messages
        for rows in (m.virtual_traffic, m.subnet_traffic, m.exit_traffic)
    )


def test_counts_become_messages() -> None:
    """What a meter counted is emitted at shutdown, with node and period."""
    messages: list[Message] = []
    logger = netlog.Logger()
    before_ns = time.time_ns()
    with netlog.Meter() as meter:
        logger.startup(
            "node", tun=MeterDevice(meter), sink=messages.append, routes=ROUTES, poll_period_s=60
        )
        for _ in range(3):
            meter.update_tx(UDP4)
        meter.update_rx(b"\x15abc")
        logger.shutdown()
    (message,) = messages
    assert message.node_id == "node"
    assert before_ns <= message.start_ns < message.end_ns <= time.time_ns()
    assert message.virtual_traffic["tx_packets"].tolist() == [3]
    assert message.exit_traffic["rx_packets"].tolist() == [1]
    assert message.exit_traffic["rx_bytes"].tolist() == [4]
    counters = logger.counters()
    assert (counters.messages, counters.written, counters.dropped) == (1, 1, 0)
    assert counters.tun == {"tx_packets": 3, "tx_bytes": 84, "rx_packets": 1, "rx_bytes": 4}
    assert counters.unattributed == {"malformed": 0, "not_ip": 1, "table_full": 0}


def test_node_id_may_be_a_kind_of_text() -> None:
    """A subclass of str is a node id like another; anything else is a TypeError."""

    class Name(str):
        __slots__ = ()

    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup(Name("node"), tun=MeterDevice(meter), sink=messages.append)
        meter.update_tx(UDP4)
        logger.shutdown()
    assert Message.from_json(messages[0].to_json()).node_id == "node"
    with pytest.raises(TypeError, match="node_id"):
        logger.startup(b"node", sink=messages.append)  # type: ignore[arg-type]


def test_stale_statistics_are_cleared_at_startup() -> None:
    """What was counted before startup is in no message; no traffic makes no message."""
    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        meter.update_tx(UDP4)
        logger.startup("node", tun=MeterDevice(meter), sink=messages.append, poll_period_s=60)
        logger.shutdown()
    assert messages == []


def test_periods_tile_and_sums_are_exact() -> None:
    """Packets counted while it polls as fast as it can are all there, in periods that tile."""
    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup(
            "node", tun=MeterDevice(meter), sink=messages.append, routes=ROUTES, poll_period_s=0.001
        )
        packets = 0
        offsets, lengths = np.zeros(10, np.int64), np.full(10, len(UDP4))
        while packets < 20_000 or len(messages) < 3:
            meter.update_batch(UDP4, offsets, lengths)
            packets += 10
        logger.shutdown()
    assert total(messages, "tx_packets") == packets
    assert total(messages, "tx_bytes") == packets * len(UDP4)
    assert len(messages) > 1
    for one, two in itertools.pairwise(messages):
        assert two.start_ns > one.end_ns >= one.start_ns


def test_startup_twice_and_restart() -> None:
    """A running logger refuses a second startup; a stopped one starts again; shutdown repeats."""
    messages: list[Message] = []
    logger = netlog.Logger()
    logger.shutdown()
    with netlog.Meter() as meter:
        device = MeterDevice(meter)
        for _ in range(3):
            logger.startup("node", tun=device, sink=messages.append, poll_period_s=60)
            assert logger.running
            assert device.enabled
            with pytest.raises(netlog.StateError, match="already running"):
                logger.startup("node", tun=device, sink=messages.append)
            meter.update_tx(UDP4)
            logger.shutdown()
            assert not logger.running
            assert not device.enabled
            logger.shutdown()
    assert len(messages) == 3


def test_without_devices() -> None:
    """A missing device is a device without traffic."""
    messages: list[Message] = []
    logger = netlog.Logger()
    logger.startup("node", sink=messages.append, poll_period_s=0.001)
    wait_until(lambda: logger.counters().polls > 3)
    logger.shutdown()
    assert messages == []


def test_nearly_full_table_is_swapped_early() -> None:
    """A flood of new connections wakes the poller long before the period ends."""
    messages: list[Message] = []
    logger = netlog.Logger()
    flows = 4096
    packets = np.frombuffer(UDP4, np.uint8).repeat(flows).reshape(len(UDP4), flows).T.copy()
    packets[:, 22:24] = np.arange(flows, dtype=">u2").view(np.uint8).reshape(flows, 2)
    offsets, lengths = np.arange(flows) * len(UDP4), np.full(flows, len(UDP4))
    with netlog.Meter(max_flows=flows) as meter:
        logger.startup(
            "node", tun=MeterDevice(meter), sink=messages.append, routes=ROUTES, poll_period_s=3600
        )
        polls = logger.counters().polls
        meter.update_batch(packets.tobytes(), offsets, lengths)
        wait_until(lambda: logger.counters().polls > polls)
        logger.shutdown()
    assert total(messages, "tx_packets") == flows


def test_routes_of_the_whole_period_classify() -> None:
    """A route that was removed within a period still classifies it, and not the next one."""
    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup(
            "node", tun=MeterDevice(meter), sink=messages.append, routes=ROUTES, poll_period_s=3600
        )
        meter.update_tx(UDP4)
        logger.reconfig_routes(netlog.RouterConfig())
        meter.wake()
        wait_until(lambda: len(messages) == 1)
        meter.update_tx(UDP4)
        logger.shutdown()
    first, second = messages
    assert (len(first.virtual_traffic), len(first.exit_traffic)) == (1, 0)
    assert (len(second.virtual_traffic), len(second.exit_traffic)) == (0, 1)


def test_physical_source_comes_from_the_peers() -> None:
    """The overlay address of the peer at an endpoint is the source; unknown ones have none."""
    messages: list[Message] = []
    logger = netlog.Logger()
    peers = [
        netlog.Peer("192.0.2.1:41641", ("100.64.0.2/32",)),
        netlog.Peer("192.0.2.2:41641", ("10.0.0.0/8", "fd7a:115c:a1e0::3")),
    ]
    rows = netlog.flow_array([(0, "", f"192.0.2.{n}:41641", n, 100 * n, 0, 0) for n in (1, 2, 3)])
    sock = ListDevice(netlog.flow_array([]), rows)
    logger.startup("node", sock=sock, sink=messages.append, poll_period_s=60, peers=peers)
    logger.shutdown()
    assert sock.enabled == [True, False]
    text = messages[0].to_json().decode()
    assert '"src":"100.64.0.2:0","dst":"192.0.2.1:41641"' in text
    assert '"src":"[fd7a:115c:a1e0::3]:0","dst":"192.0.2.2:41641"' in text
    assert '{"dst":"192.0.2.3:41641","txPkts":3,"txBytes":300}' in text
    assert '"src"' not in text.split("192.0.2.3", 1)[0].rsplit("{", 1)[1]


def test_what_is_refreshed_holds_for_the_period_that_ends() -> None:
    """Peers and routes that are learnt at its end; a failure there costs no message."""
    messages: list[Message] = []
    logger = netlog.Logger()
    asked = 0

    def refresh() -> None:
        nonlocal asked
        asked += 1
        logger.reconfig_peers([netlog.Peer("192.0.2.1:41641", ("100.64.0.2/32",))])
        logger.reconfig_routes(netlog.RouterConfig(routes=["100.64.0.0/10"]))
        raise RuntimeError("and then it failed")

    tun = netlog.flow_array([(6, "100.64.0.1:1", "100.64.0.2:2", 1, 40, 0, 0)])
    sock = netlog.flow_array([(0, "", "192.0.2.1:41641", 1, 100, 0, 0)])
    device = ListDevice(netlog.flow_array([]), sock)
    logger.startup(
        "node",
        tun=ListDevice(netlog.flow_array([]), tun),
        sock=device,
        sink=messages.append,
        poll_period_s=60,
        refresh=refresh,
    )
    logger.shutdown()
    assert asked == 1
    text = messages[0].to_json().decode()
    assert '"virtualTraffic":[{' in text
    assert '"src":"100.64.0.2:0","dst":"192.0.2.1:41641"' in text


def test_failing_device_costs_only_its_own_counts() -> None:
    """A user's device that raises is counted, and the other device's counts leave."""
    messages: list[Message] = []
    logger = netlog.Logger()
    tun = ListDevice(netlog.flow_array([]), RuntimeError("broken"))
    rows = netlog.flow_array([(0, "", "192.0.2.1:1", 1, 2, 3, 4)])
    sock = ListDevice(netlog.flow_array([]), rows)
    logger.startup("node", tun=tun, sock=sock, sink=messages.append, poll_period_s=60)
    logger.shutdown()
    assert logger.counters().device_errors == 1
    assert messages[0].physical_traffic["rx_bytes"].tolist() == [4]


def test_failing_sink_loses_nothing_that_fits() -> None:
    """Messages that a sink refused come again when it works."""
    messages: list[Message] = []
    failing = True

    def sink(message: Message) -> None:
        if failing:
            raise OSError(28, "No space left on device")
        messages.append(message)

    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup("node", tun=MeterDevice(meter), sink=sink, poll_period_s=0.002)
        meter.update_tx(UDP4)
        wait_until(lambda: logger.counters().sink_errors > 1)
        failing = False
        meter.update_tx(UDP4)
        logger.shutdown()
    assert total(messages, "tx_packets") == 2
    assert logger.counters().dropped == 0


def test_shutdown_ends_stopped_though_the_sink_hangs() -> None:
    """A sink that takes for ever costs a TimeoutError; the logger is stopped all the same."""
    release = threading.Event()
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup(
            "node", tun=MeterDevice(meter), sink=lambda _: release.wait(60), poll_period_s=60
        )
        meter.update_tx(UDP4)
        with pytest.raises(TimeoutError, match="logger"):
            logger.shutdown(timeout_s=0.05)
        assert not logger.running
        release.set()
        wait_until(lambda: "netlog-logger" not in {t.name for t in threading.enumerate()})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"poll_period_s": 0}, "poll_period_s"),
        ({"poll_period_s": float("nan")}, "poll_period_s"),
        ({"exit_traffic": "all"}, "exit_traffic"),
        ({"nodes": object()}, "nodes"),
        ({"max_bytes": 100}, "max_bytes"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], named: str) -> None:
    """A wrong argument names itself, and nothing was started."""
    logger = netlog.Logger()
    with pytest.raises((ValueError, TypeError), match=named):
        logger.startup("node", **{"sink": print, **wrong})
    assert not logger.running


def test_two_meters_are_both_polled() -> None:
    """Devices with a meter each are extracted one after the other, also when nearly full."""
    messages: list[Message] = []
    logger = netlog.Logger()
    datagram = np.zeros(1, netlog.DATAGRAM_DTYPE)
    datagram["address"] = np.void(bytes(10) + b"\xff\xff\xc0\x00\x02\x01")
    datagram["version"], datagram["length"] = 4, 100
    with netlog.Meter() as one, netlog.Meter() as two:
        logger.startup(
            "node",
            tun=MeterDevice(one),
            sock=MeterDevice(two),
            sink=messages.append,
            poll_period_s=3600,
        )
        polls = logger.counters().polls
        one.update_tx(UDP4)
        two.update_datagrams(datagram)
        two.wake()
        wait_until(lambda: logger.counters().polls > polls)
        logger.shutdown()
    assert total(messages, "tx_packets") == 1
    assert sum(int(m.physical_traffic["tx_bytes"].sum()) for m in messages) == 100
