"""Messages reach a sink in order, once, also when it fails for a while."""

import json
import logging

import pytest

from netlog.messages.build import Message
from netlog.model.flows import flow_array
from netlog.sinks.delivery import MAX_PENDING, Delivery


def message(number: int) -> Message:
    """A message that says which one it is, of one packet and as many bytes."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 1, number, 0, 0)
    return Message("n", number, number, virtual_traffic=flow_array([row]))


class FlakySink:
    """Takes messages unless it is told to fail."""

    def __init__(self) -> None:
        self.taken: list[Message | bytes] = []
        self.failing = False
        self.calls = 0

    def write(self, message: Message) -> None:
        """Take it, or raise as a full disk does."""
        self.calls += 1
        if self.failing:
            raise OSError(28, "No space left on device")
        self.taken.append(message)


def test_callable_or_object() -> None:
    """A sink is an object with write(), or a callable; all else is a TypeError."""
    taken: list[Message] = []
    Delivery(taken.append).write(message(1))
    sink = FlakySink()
    Delivery(sink).write(message(1))
    assert taken == sink.taken == [message(1)]
    with pytest.raises(TypeError, match="sink"):
        Delivery(3)  # type: ignore[arg-type]


def test_failed_messages_are_tried_again_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """What a failing sink refused comes first when it works again, and both are said once."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    with caplog.at_level(logging.WARNING, logger="netlog"):
        for number in range(3):
            delivery.write(message(number))
            delivery.flush()
        assert (delivery.pending, delivery.written, sink.taken) == (3, 0, [])
        sink.failing = False
        delivery.write(message(3))
    delivery.flush()
    assert sink.taken == [message(number) for number in range(4)]
    assert (delivery.pending, delivery.written, delivery.dropped) == (0, 4, 0)
    assert [record.message.split(":")[0].split(";")[0] for record in caplog.records] == [
        "sink failed, will try again",
        "sink works again",
    ]


def test_pending_is_bounded_and_the_loss_is_counted() -> None:
    """Beyond the bound the oldest goes, and is counted."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    for number in range(MAX_PENDING + 5):
        delivery.write(message(number))
    assert (delivery.pending, delivery.dropped) == (MAX_PENDING, 5)
    assert (delivery.loss.packets, delivery.loss.n_bytes) == (5, 0 + 1 + 2 + 3 + 4)
    sink.failing = False
    delivery.flush()
    assert sink.taken == [message(number) for number in range(5, MAX_PENDING + 5)]


def test_a_failing_sink_is_tried_once_a_period() -> None:
    """A dead sink costs one call a flush, however many messages wait."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    for number in range(10):
        delivery.write(message(number))
    assert sink.calls == 1
    delivery.flush()
    assert sink.calls == 2


def test_abandon_counts_what_is_given_up() -> None:
    """At the end nothing is lost silently."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    delivery.write(message(7))
    delivery.abandon()
    assert (delivery.pending, delivery.dropped, delivery.loss.n_bytes) == (0, 1, 7)


class FlakyLineSink(FlakySink):
    """One that takes lines too."""

    def write_line(self, line: bytes) -> None:
        """Take it, or raise."""
        self.calls += 1
        if self.failing:
            raise OSError(28, "No space left on device")
        self.taken.append(line)


def test_a_loss_is_told_where_it_happened() -> None:
    """A sink that takes lines gets one about the gap, once, before what follows the gap."""
    sink = FlakyLineSink()
    delivery = Delivery(sink)
    delivery.write(message(0))
    sink.failing = True
    for number in range(1, MAX_PENDING + 4):
        delivery.write(message(number))
        delivery.flush()
    sink.failing = False
    delivery.flush()
    delivery.flush()
    first, told, *rest = sink.taken
    assert first == message(0)
    assert isinstance(told, bytes)
    assert json.loads(told) == {
        "nodeId": "n",
        "dropped": {"messages": 3, "packets": 3, "bytes": 1 + 2 + 3},
    }
    assert rest == [message(number) for number in range(4, MAX_PENDING + 4)]


def test_attempts_are_counted() -> None:
    """Every attempt that failed, and every one that was made after a failure."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    for number in range(3):
        delivery.write(message(number))
    delivery.flush()
    assert (delivery.errors, delivery.retried) == (2, 1)
    assert delivery.last_error == "OSError: [Errno 28] No space left on device"
    sink.failing = False
    delivery.flush()
    assert (delivery.errors, delivery.retried, delivery.written) == (2, 2, 3)
    assert delivery.last_error == ""
