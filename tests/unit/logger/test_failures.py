"""Whatever fails in a poll: the logger continues, counts stay, and the failure is reported once."""

import logging
import threading
from collections.abc import Callable

import numpy as np
import pytest

from netlog import Logger, Message, Meter, MeterDevice

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")


class Device:
    """A device of a user's own, whose statistics are what it is told."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - Device's signature
        """Nothing to do."""

    def extract_statistics(self) -> np.ndarray:
        """Whatever it is."""
        return self.answer()  # type: ignore[return-value] # that is the point


@pytest.mark.parametrize(
    "answer",
    [lambda: None, list, lambda: np.zeros(3), lambda: np.zeros((2, 2)), lambda: 1 // 0],
    ids=["none", "list", "floats", "matrix", "raises"],
)
def test_a_device_that_gives_nonsense(answer: Callable[[], object]) -> None:
    """The other device's counts come all the same, and each such answer is counted."""
    messages: list[Message] = []
    with Meter() as meter:
        logger = Logger()
        logger.startup(
            "a",
            tun=MeterDevice(meter),
            sock=Device(answer),
            sink=messages.append,
            poll_period_s=3600,
        )
        meter.update_tx(PACKET)
        logger.shutdown()
    assert sum(message.packets for message in messages) == 1
    assert logger.counters().device_errors >= 1


@pytest.mark.parametrize("what", ["refresh", "date", "config"])
def test_a_step_that_raises(
    what: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next poll has the same counts; one line tells it."""
    messages: list[Message] = []
    failures = threading.Semaphore(3)
    over = threading.Event()

    def failing() -> None:
        if not failures.acquire(blocking=False):
            over.set()
            return
        raise RuntimeError("on purpose")

    def fails_first(function: Callable[..., object]) -> Callable[..., object]:
        def called(*args: object) -> object:
            failing()
            return function(*args)

        return called

    if what == "date":
        clock = "netlog.model.periods.PeriodClock.end_period"
        from netlog.model.periods import PeriodClock  # noqa: PLC0415 - patched here only

        monkeypatch.setattr(clock, fails_first(PeriodClock.end_period))
    if what == "config":
        from netlog.logger.period_config import PeriodConfigs  # noqa: PLC0415 - as above

        monkeypatch.setattr(PeriodConfigs, "end_period", fails_first(PeriodConfigs.end_period))
    with Meter() as meter, caplog.at_level(logging.WARNING):
        logger = Logger()
        logger.startup(
            "a",
            tun=MeterDevice(meter),
            sink=messages.append,
            poll_period_s=0.01,
            refresh=failing if what == "refresh" else None,
        )
        meter.update_tx(PACKET)
        assert over.wait(timeout=60)
        meter.update_rx(PACKET)
        logger.shutdown()
    assert sum(message.packets for message in messages) == 2
    if what != "refresh":
        assert logger.counters().failed_polls == 3
        assert caplog.text.count("a poll failed") == 1
