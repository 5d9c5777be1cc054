"""A meter in a fork stays the parent's: nothing counts twice, and nothing counts into its lanes."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from netlog import Logger, Message, Meter, MeterDevice, MeterFileError, SockDevice, StateError

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")


def in_fork(act: Callable[[], None]) -> None:
    """Run in a fork, which must end well."""
    child = os.fork()
    if not child:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def packets(meter: Meter) -> int:
    """What was counted since the last time."""
    rows = meter.extract()
    return int(rows["tx_packets"].sum() + rows["rx_packets"].sum())


@pytest.fixture(params=["memory", "file"])
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Meter:
    """A meter that is not shared, with two packets counted in this process."""
    made = Meter() if request.param == "memory" else Meter.create(tmp_path / "run" / "meter")
    made.update_tx(PACKET)
    made.update_rx(PACKET)
    return made


def refused(meter: Meter) -> None:
    """Every use is refused, and closing it is fine."""
    calls: list[Callable[[], object]] = [
        lambda: meter.update_tx(PACKET),
        lambda: meter.update_batch(PACKET, [0], [len(PACKET)]),
        meter.extract,
        meter.snapshot,
        meter.retire,
        meter.clear,
        lambda: meter.wait(0),
        lambda: meter.handle,
        lambda: meter.max_flows,
    ]
    for call in calls:
        with pytest.raises(MeterFileError if meter.path else StateError, match="process"):
            call()
    meter.wake()
    meter.close()
    meter.close()


def test_a_fork_may_only_close_it(meter: Meter) -> None:
    """The parent goes on as if there had been no fork, with all counts once."""
    in_fork(lambda: refused(meter))
    meter.update_tx(PACKET)
    assert packets(meter) == 3
    in_fork(lambda: refused(meter))
    assert packets(meter) == 0
    meter.update_tx(PACKET)
    assert packets(meter) == 1
    if meter.path:
        with pytest.raises(MeterFileError, match="polls"):
            Meter.attach(meter.path, poll=True)
    meter.close()


def use(meter: Meter) -> None:
    """As `refused`, at the top of a module for multiprocessing."""
    refused(meter)


def test_multiprocessing_is_a_fork(meter: Meter) -> None:
    """Its children inherit what they are given."""
    process = multiprocessing.get_context("fork").Process(target=use, args=(meter,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert packets(meter) == 2
    meter.close()


def test_a_device_in_a_fork_does_not_count(meter: Meter) -> None:
    """Not even on the lane that it had, which is the parent's."""
    with (
        SockDevice.bind("127.0.0.1", 0) as other,
        SockDevice.bind("127.0.0.1", 0, meter=meter) as sock,
    ):
        sock.sendto(b"x" * 10, other.address)
        snapshot = meter.snapshot()
        assert int(snapshot.sock["tx_packets"].sum()) == 1
        meter.clear()

        def send() -> None:
            sock.sendto(b"y" * 10, other.address)
            sock.close()
            meter.close()

        in_fork(send)
        sock.sendto(b"z" * 10, other.address)
        assert int(meter.snapshot().sock["tx_bytes"].sum()) == 10
        meter.clear()
    meter.close()


def test_a_shared_meter_is_used_by_both() -> None:
    """Each on a lane of its own, and every packet counts once."""
    with Meter(shared=True) as meter:
        n_packets = 1000
        meter.update_tx(PACKET)
        child = os.fork()
        for _ in range(n_packets):
            meter.update_tx(PACKET)
        if not child:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert packets(meter) == 1 + 2 * n_packets


def test_a_logger_in_a_fork_sends_nothing() -> None:
    """Its thread is the parent's, and stopping it in the child is fine."""
    messages: list[Message] = []
    meter = Meter()
    logger = Logger()
    logger.startup("a", tun=MeterDevice(meter), sink=messages.append, poll_period_s=3600)
    meter.update_tx(PACKET)

    def stop() -> None:
        logger.shutdown(timeout_s=60)
        assert not messages

    in_fork(stop)
    logger.shutdown()
    assert sum(message.packets for message in messages) == 1
    meter.close()
