"""The logger and a durable sink: counts stay in the meter until the sink has their period."""

import itertools
import threading

import netlog
from netlog.messages.build import Message
from netlog.sinks import PeriodId

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")
TO_SERVICE = PACKET[:16] + bytes((100, 100, 100, 100)) + PACKET[20:]
ROUTES = netlog.RouterConfig(local_addrs=("100.64.0.1/32",), routes=("100.64.0.0/10",))


class Ledger:
    """A durable sink in memory, that can be told to fail at a step."""

    def __init__(self) -> None:
        self.failing = ""
        self.failed = threading.Event()
        self.stored: dict[PeriodId, list[Message]] = {}
        self._period: PeriodId | None = None
        self._open: list[Message] = []

    def _step(self, name: str) -> None:
        if self.failing == name:
            self.failed.set()
            raise OSError(28, f"no room to {name}")

    def begin(self, period: PeriodId) -> bool:
        """Begin, unless it has the period."""
        self._step("begin")
        self._period, self._open = period, []
        return period not in self.stored

    def write(self, message: Message) -> None:
        """Take one more."""
        self._step("write")
        self._open.append(message)

    def commit(self) -> None:
        """Have it."""
        self._step("commit")
        assert self._period is not None
        self.stored[self._period] = self._open

    def abort(self) -> None:
        """Forget it."""
        self._open = []

    def close(self) -> None:
        """Nothing to close."""

    def packets(self) -> int:
        """All that was stored."""
        return sum(message.packets for messages in self.stored.values() for message in messages)


def run_with_failure(step: str) -> tuple[Ledger, netlog.LoggerCounters, bytes]:
    """Count, let the sink fail for some polls, count on, let it work again."""
    ledger, logger = Ledger(), netlog.Logger()
    with netlog.Meter() as meter:
        device = netlog.MeterDevice(meter)
        logger.startup("a", tun=device, sink=ledger, routes=ROUTES, poll_period_s=0.01)
        ledger.failing = step
        for _ in range(3):
            meter.update_tx(PACKET)
        assert ledger.failed.wait(60)
        for _ in range(4):
            meter.update_rx(PACKET)
        ledger.failed.clear()
        assert ledger.failed.wait(60)
        ledger.failing = ""
        logger.shutdown()
        return ledger, logger.counters(), meter.id


def test_what_no_sink_takes_stays_in_the_meter() -> None:
    """However a sink fails, nothing is lost and nothing comes twice once it works again."""
    for step in ("begin", "write", "commit"):
        ledger, counters, meter_id = run_with_failure(step)
        assert ledger.packets() == 7, step
        assert counters.held_polls >= 2
        assert counters.sink_errors >= 2
        assert counters.dropped == 0
        assert counters.written == counters.messages
        assert {period.meter_id for period in ledger.stored} == {meter_id}


def test_periods_of_a_meter_have_rising_epochs() -> None:
    """A later period has a greater epoch, and begins after the earlier one has ended."""
    ledger, _, _ = run_with_failure("commit")
    periods = sorted(ledger.stored, key=lambda period: period.epoch)
    assert len(periods) >= 2
    for before, after in itertools.pairwise(periods):
        assert ledger.stored[after][0].start_ns > ledger.stored[before][-1].end_ns


def test_a_sink_that_has_the_period_gets_nothing() -> None:
    """What a dead predecessor had stored and not cleared is cleared, and not stored again."""
    ledger = Ledger()

    class HasAll(Ledger):
        def begin(self, period: PeriodId) -> bool:
            ledger.stored[period] = []
            return False

    logger = netlog.Logger()
    with netlog.Meter() as meter:
        logger.startup(
            "a", tun=netlog.MeterDevice(meter), sink=HasAll(), routes=ROUTES, poll_period_s=60
        )
        meter.update_tx(PACKET)
        logger.shutdown()
        assert len(ledger.stored) == 1
        assert len(meter.extract()) == 0


def test_what_is_left_at_the_end_is_dropped_and_counted() -> None:
    """A private meter goes with its process: what no sink took by then is counted as dropped."""
    ledger, logger = Ledger(), netlog.Logger()
    ledger.failing = "begin"
    with netlog.Meter() as meter:
        device = netlog.MeterDevice(meter)
        logger.startup("a", tun=device, sink=ledger, routes=ROUTES, poll_period_s=60)
        meter.update_tx(PACKET)
        logger.shutdown()
    assert logger.counters().lost_packets == 1
    assert logger.counters().lost_bytes == len(PACKET)


class Nodes:
    """A source of nodes that changes, and that can fail."""

    def __init__(self) -> None:
        me = netlog.Node("a", addresses=("100.64.0.1",))
        other = netlog.Node("b", name="b.example.", addresses=("100.64.0.2",))
        self.now = netlog.StaticNodes(me, [other]).snapshot()
        self.without = netlog.StaticNodes(me, []).snapshot()
        self.failing = False

    def snapshot(self) -> netlog.NodeMap:
        """The nodes of now."""
        if self.failing:
            raise OSError("the source is down")
        return self.now


def test_node_that_leaves_within_the_period_is_known() -> None:
    """A node that was there when the period began classifies and is told of; the next one not."""
    messages: list[Message] = []
    nodes, logger = Nodes(), netlog.Logger()
    with netlog.Meter() as meter:
        device = netlog.MeterDevice(meter)
        logger.startup("a", tun=device, sink=messages.append, nodes=nodes, poll_period_s=60)
        meter.update_tx(PACKET)
        nodes.now = nodes.without
        logger.shutdown()
        assert [len(m.virtual_traffic) for m in messages] == [1]
        assert [node.name for node in messages[0].dst_nodes] == ["b.example"]
        logger.startup("a", tun=device, sink=messages.append, nodes=nodes, poll_period_s=60)
        meter.update_tx(PACKET)
        logger.shutdown()
    assert [len(m.virtual_traffic) for m in messages] == [1, 0]
    assert [len(m.exit_traffic) for m in messages] == [0, 1]


def test_source_that_fails_leaves_its_last_answer() -> None:
    """Traffic is classified by the nodes that were known last, and the failures are counted."""
    messages: list[Message] = []
    nodes, logger = Nodes(), netlog.Logger()
    with netlog.Meter() as meter:
        device = netlog.MeterDevice(meter)
        logger.startup("a", tun=device, sink=messages.append, nodes=nodes, poll_period_s=60)
        meter.update_tx(PACKET)
        nodes.failing = True
        logger.shutdown()
    assert [len(m.virtual_traffic) for m in messages] == [1]
    assert logger.counters().node_errors >= 1


def test_what_no_message_shows_is_counted() -> None:
    """Traffic to the overlay's own services is in no message, and in the counters."""
    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter() as meter:
        device = netlog.MeterDevice(meter)
        logger.startup("a", tun=device, sink=messages.append, nodes=Nodes(), poll_period_s=60)
        meter.update_tx(TO_SERVICE)
        logger.shutdown()
    assert not messages
    assert logger.counters().left_out.service_packets == 1
    assert logger.counters().left_out.service_bytes == len(TO_SERVICE)
