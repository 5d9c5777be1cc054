"""The calls that count from Python: what they take, what they refuse, what they leave behind."""

import ast
import inspect
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netlog
from netlog._native import LaneWriter

PACKET = bytes.fromhex("4500001c0000000040110000644000016440000200350035000800ff")


@pytest.fixture
def meter() -> Iterator[netlog.Meter]:
    """A meter of one connection's worth."""
    with netlog.Meter(64) as opened:
        yield opened


def counted(meter: netlog.Meter) -> tuple[int, int, int, int]:
    """What was counted since the last call: packets and bytes sent, packets and bytes received."""
    rows = meter.extract()
    names = ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes")
    sent_packets, sent_bytes, received_packets, received_bytes = (int(rows[n].sum()) for n in names)
    return sent_packets, sent_bytes, received_packets, received_bytes


FORMS = {
    "bytes": PACKET,
    "a subclass of bytes": type("Own", (bytes,), {})(PACKET),
    "bytearray": bytearray(PACKET),
    "memoryview": memoryview(PACKET),
    "uint8 array": np.frombuffer(PACKET, np.uint8),
    "uint32 array": np.frombuffer(PACKET, np.uint32),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_contiguous_buffer_is_a_packet(meter: netlog.Meter, form: str) -> None:
    """Its bytes are the packet, whatever its items are."""
    packet: Any = FORMS[form]
    meter.update_tx(packet)
    meter.update_rx(packet=packet)
    meter.update_packets([packet, packet], rx=True)
    assert counted(meter) == (1, 28, 3, 84)


def test_what_is_no_packet_is_refused(meter: netlog.Meter) -> None:
    """Each with the error of its kind, and nothing is counted."""
    strided = memoryview(bytes(64))[::2]
    wrong: Any = meter
    for call in (wrong.update_tx, wrong.update_rx):
        for argument in ("text", 5, None, [PACKET]):
            with pytest.raises(TypeError):
                call(argument)
        with pytest.raises(ValueError, match="contiguous"):
            call(strided)
        for arguments in ((), (PACKET, PACKET)):
            with pytest.raises(TypeError, match="exactly one argument"):
                call(*arguments)
        with pytest.raises(TypeError, match="unexpected keyword argument 'data'"):
            call(data=PACKET)
    assert counted(meter) == (0, 0, 0, 0)


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 256, 257, 5000])
def test_packets_count_as_one_by_one(meter: netlog.Meter, number: int) -> None:
    """At every border of the batch: on the stack or not, with the interpreter's lock or not."""
    for sequence in ([PACKET] * number, (PACKET,) * number, (PACKET for _ in range(number))):
        meter.update_packets(sequence)
        assert counted(meter) == (number, 28 * number, 0, 0)


@pytest.mark.parametrize("place", [0, 10, 99])
def test_one_wrong_packet_refuses_all(meter: netlog.Meter, place: int) -> None:
    """Nothing is counted, and the buffers before it are given back."""
    packets: Any = [bytearray(PACKET) for _ in range(100)]
    held = packets[:place]
    packets[place] = "text"
    with pytest.raises(TypeError):
        meter.update_packets(packets)
    with pytest.raises(TypeError, match="rx: expected a bool"):
        meter.update_packets([], rx=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        meter.update_packets(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        meter.update_packets(PACKET)  # type: ignore[arg-type] # its items are integers
    for buffer in held:
        buffer.append(0)  # a bytearray that is lent out refuses this
    assert counted(meter) == (0, 0, 0, 0)


def test_objects_are_given_back(meter: netlog.Meter) -> None:
    """No call keeps a reference or a buffer."""
    packet, buffer = bytes(bytearray(PACKET)), bytearray(PACKET)
    packets: list[bytes | bytearray] = [packet, buffer]
    offsets = np.zeros(1, np.uint32)
    before = [sys.getrefcount(each) for each in (packet, buffer, packets, offsets)]
    for _ in range(1000):
        meter.update_tx(packet)
        meter.update_rx(buffer)
        meter.update_packets(packets)
        meter.update_batch(buffer, offsets, offsets)
        with pytest.raises(ValueError, match="outside the 28 bytes"):
            meter.update_batch(buffer, offsets, offsets + np.uint32(29))
    assert [sys.getrefcount(each) for each in (packet, buffer, packets, offsets)] == before
    buffer.append(0)


def unaligned(values: list[int]) -> Any:  # noqa: ANN401
    """An array of integers at odd addresses."""
    array = np.zeros(len(values), np.dtype([("pad", "u1"), ("value", "<u8")], align=False))
    array["value"] = values
    return array["value"]


KINDS: dict[str, Any] = {
    "list": list,
    **{name: np.dtype(name).type for name in ("uint8", "int16", "uint32", "int32", "int64")},
    "uint64": lambda values: np.array(values, np.uint64),
    "every second": lambda values: np.repeat(np.array(values), 2)[::2],
    "big-endian": lambda values: np.array(values, ">u8"),
    "unaligned": unaligned,
    "memoryview": lambda values: np.array(values, np.uint32).data,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [3, 300])
def test_integers_of_any_kind_are_offsets(meter: netlog.Meter, kind: str, number: int) -> None:
    """Taken as they are, or converted first."""
    if kind in {"uint8", "int16"}:
        number = 3
    make = KINDS[kind] if kind not in np.sctypeDict else lambda v: np.array(v, kind)
    data = bytearray(PACKET * number)
    offsets, lengths = make([28 * i for i in range(number)]), make([28] * number)
    meter.update_batch(data, offsets, lengths)
    rx = np.arange(number) % 3 == 0
    meter.update_batch(np.frombuffer(data, np.uint8), offsets, lengths, rx=rx)
    meter.update_batch(data, offsets, lengths, rx=np.True_)
    meter.update_batch(data, offsets, lengths, rx=np.repeat(rx, 2)[::2])
    received = int(rx.sum())
    sent = number + 2 * (number - received)
    assert counted(meter) == (sent, 28 * sent, number + 2 * received, 28 * (number + 2 * received))


@pytest.mark.parametrize("kind", ["int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, -1), (29, 0), (1, 28), (0, 29), (-1, 29), (2**31 - 1, 1)]
)
def test_a_packet_outside_is_refused(
    meter: netlog.Meter, kind: str, offset: int, length: int
) -> None:
    """Before anything is counted, also where a sum would wrap."""
    bits = 2 ** (8 * np.dtype(kind).itemsize) if kind.startswith("u") else 0
    offsets, lengths = (
        np.array([0, value if value >= 0 else value + bits], kind) for value in (offset, length)
    )
    lengths[0] = 28
    with pytest.raises(ValueError, match="outside the 28 bytes"):
        meter.update_batch(PACKET, offsets, lengths)
    assert counted(meter) == (0, 0, 0, 0)


def test_offsets_that_change_meanwhile_read_nothing_outside(meter: netlog.Meter) -> None:
    """A thread moves them out of the buffer and back; a batch is refused, or counted as a whole."""
    number = 20_000
    data = np.frombuffer(PACKET * number, np.uint8).copy()
    inside = np.arange(number, dtype=np.uint64) * 28
    offsets, lengths = inside.copy(), np.full(number, 28, np.uint64)
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            offsets[:] = np.uint64(1) << np.uint64(40)
            offsets[:] = inside

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(200):
            try:
                meter.update_batch(data, offsets, lengths)
            except ValueError as error:
                assert "outside" in str(error)  # noqa: PT017 - either may happen
    finally:
        stop.set()
        thread.join()
    snapshot = meter.snapshot()
    unattributed = snapshot.tun_unattributed
    counted_or_not = int(snapshot.tun["tx_packets"].sum()) + unattributed.tx_packets
    assert counted_or_not % number == 0


def test_a_signal_handler_may_count(meter: netlog.Meter) -> None:
    """It interrupts calls that count, and nothing waits for itself."""
    handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        handled += 1
        meter.update_rx(PACKET)
        meter.update_packets([PACKET] * 70, rx=True)

    data = np.frombuffer(PACKET * 1000, np.uint8)
    offsets, lengths = np.arange(1000) * 28, np.full(1000, 28)
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    sent = 0
    try:
        while handled < 100:
            meter.update_tx(PACKET)
            meter.update_batch(data, offsets, lengths)
            sent += 1001
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert counted(meter) == (sent, 28 * sent, 71 * handled, 71 * 28 * handled)


def test_a_packet_that_counts_while_it_is_lent(meter: netlog.Meter) -> None:
    """Python code that runs inside a call may call again: nothing is held while it runs."""

    class Packets:
        def __iter__(self) -> Iterator[bytes]:
            meter.update_rx(PACKET)
            yield PACKET
            meter.update_packets([PACKET] * 2, rx=True)
            yield PACKET

    meter.update_packets(Packets())
    assert counted(meter) == (2, 56, 3, 84)


def test_threads_share_the_lane_and_closing_waits() -> None:
    """All of their packets count until the meter closes; afterwards all of them are refused."""
    with netlog.Meter(64) as meter:
        sent = [0, 0, 0, 0]
        refused = threading.Barrier(5)
        data = PACKET * 2000
        offsets, lengths = np.arange(2000) * 28, np.full(2000, 28)
        totals = [0, 0, 0, 0]

        def count(number: int) -> None:
            try:
                while True:
                    meter.update_batch(data, offsets, lengths)
                    meter.update_tx(PACKET)
                    sent[number] += 2001
            except netlog.StateError:
                refused.wait(60)

        threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while min(sent) < 20_000:
            totals = [a + b for a, b in zip(totals, counted(meter), strict=True)]
        meter.close()
        refused.wait(60)
        for thread in threads:
            thread.join()
    assert 0 < totals[0] <= sum(sent) + 4 * 2000
    assert totals[1] == 28 * totals[0]


def test_a_closed_meter_refuses(meter: netlog.Meter) -> None:
    """Also one that has never counted."""
    meter.update_tx(PACKET)
    meter.close()
    with netlog.Meter(64) as unused:
        unused.close()
        for closed in (meter, unused):
            with pytest.raises(netlog.StateError, match="meter is closed"):
                closed.update_tx(PACKET)
            with pytest.raises(netlog.StateError, match="meter is closed"):
                closed.update_packets([PACKET])
            with pytest.raises(netlog.StateError, match="meter is closed"):
                closed.update_batch(PACKET, [0], [28])
            with pytest.raises(netlog.StateError, match="meter is closed"):
                closed.update_datagrams(np.zeros(0, netlog.DATAGRAM_DTYPE))


def test_the_stub_is_of_this_type() -> None:
    """netlog/_writer.pyi has the methods that C has, with parameters and docstrings."""
    stub = ast.parse((Path(netlog.__file__).parent / "_writer.pyi").read_text())
    (described,) = (node for node in stub.body if isinstance(node, ast.ClassDef))
    functions = {node.name: node for node in described.body if isinstance(node, ast.FunctionDef)}
    own = {name for name in vars(LaneWriter) if not name.startswith("__")}
    assert set(functions) == own
    for name, function in functions.items():
        method = getattr(LaneWriter, name)
        arguments = [*function.args.posonlyargs, *function.args.args]
        assert [each.arg for each in arguments] == list(inspect.signature(method).parameters)
        if not name.startswith("_"):
            shown = ast.get_docstring(function) or ""
            assert shown.splitlines()[0] == method.__doc__.splitlines()[0]
