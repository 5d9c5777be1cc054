"""Messages reach a sink in order, once, also when it fails for a while."""

import logging

import pytest

from netlog.delivery import MAX_PENDING, Delivery


class FlakySink:
    """Takes messages unless it is told to fail."""

    def __init__(self) -> None:
        self.taken: list[object] = []
        self.failing = False
        self.calls = 0

    def write(self, message: object) -> None:
        """Take it, or raise as a full disk does."""
        self.calls += 1
        if self.failing:
            raise OSError(28, "No space left on device")
        self.taken.append(message)


def test_callable_or_object() -> None:
    """A sink is an object with write(), or a callable; all else is a TypeError."""
    taken: list[object] = []
    Delivery(taken.append).write("m")
    sink = FlakySink()
    Delivery(sink).write("m")
    assert taken == sink.taken == ["m"]
    with pytest.raises(TypeError, match="sink"):
        Delivery(3)


def test_failed_messages_are_tried_again_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """What a failing sink refused comes first when it works again, and both are said once."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    with caplog.at_level(logging.WARNING, logger="netlog"):
        for number in range(3):
            delivery.write(number)
            delivery.flush()
        assert (delivery.pending, delivery.written, sink.taken) == (3, 0, [])
        sink.failing = False
        delivery.write(3)
    delivery.flush()
    assert sink.taken == [0, 1, 2, 3]
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
        delivery.write(number)
    assert (delivery.pending, delivery.dropped) == (MAX_PENDING, 5)
    sink.failing = False
    delivery.flush()
    assert sink.taken == list(range(5, MAX_PENDING + 5))


def test_a_failing_sink_is_tried_once_a_period() -> None:
    """A dead sink costs one call a flush, however many messages wait."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    for number in range(10):
        delivery.write(number)
    assert sink.calls == 1
    delivery.flush()
    assert sink.calls == 2


def test_abandon_counts_what_is_given_up() -> None:
    """At the end nothing is lost silently."""
    sink = FlakySink()
    delivery = Delivery(sink)
    sink.failing = True
    delivery.write("m")
    delivery.abandon()
    assert (delivery.pending, delivery.dropped) == (0, 1)
