"""The logger over real sockets: while threads send and routes change, and started over and over."""

from __future__ import annotations

import gc
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import netlog

if TYPE_CHECKING:
    from netlog.messages.build import Message

SENDERS, DATAGRAMS = 3, 1500
UDP4 = bytes.fromhex("4500001c0000000040110000644000016440000203e8003500080000")


def test_every_datagram_is_in_one_message() -> None:
    """What threads send while the logger polls as fast as it can is in the messages, exactly."""
    messages: list[Message] = []
    logger = netlog.Logger()
    with netlog.Meter(100) as meter, netlog.SockDevice.bind("127.0.0.1", 0) as sink:
        sockets = [netlog.SockDevice.bind("127.0.0.1", 0, meter=meter) for _ in range(SENDERS)]
        for device in sockets:
            device.set_statistics_enabled(True)

        def send(device: netlog.SockDevice) -> None:
            for number in range(DATAGRAMS):
                device.sendto(bytes(number % 100), sink.address)

        logger.startup("n1", sock=sockets[0], sink=messages.append, poll_period_s=0.002)
        threads = [threading.Thread(target=send, args=(device,)) for device in sockets]
        for thread in threads:
            thread.start()
        for number in range(50):
            logger.reconfig_routes(netlog.RouterConfig(routes=(f"10.{number}.0.0/16",)))
            logger.reconfig_peers([netlog.Peer(f"192.0.2.{number}:1", ("10.0.0.0/8",))])
        for thread in threads:
            thread.join()
        logger.shutdown()
        port = sink.address[1]
        for device in sockets:
            device.close()
    sent = SENDERS * sum(number % 100 for number in range(DATAGRAMS))
    for message in messages:
        rows = message.physical_traffic
        assert rows["dst_port"].tolist() == [port]
    assert sum(int(m.physical_traffic["tx_packets"].sum()) for m in messages) == SENDERS * DATAGRAMS
    assert sum(int(m.physical_traffic["tx_bytes"].sum()) for m in messages) == sent
    for earlier, later in pairwise(messages):
        assert earlier.end_ns < later.start_ns


def test_starting_and_stopping_leaks_nothing() -> None:
    """Started and stopped a hundred times, with traffic, it leaves no thread and no descriptor."""
    messages: list[Message] = []

    def run_once(logger: netlog.Logger) -> None:
        with netlog.SockDevice.bind("127.0.0.1", 0) as sock:
            logger.startup("n1", sock=sock, sink=messages.append, poll_period_s=10.0)
            sock.sendto(b"datagram", sock.address)
            logger.shutdown()
            assert not logger.running

    def held() -> tuple[int, int, int]:
        gc.collect()
        mappings = Path("/proc/self/maps").read_text().count("\n")
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), mappings

    logger = netlog.Logger()
    for _ in range(10):
        run_once(logger)
    before = held()
    for _ in range(100):
        run_once(logger)
    descriptors, threads, mappings = held()
    assert (descriptors, threads) == before[:2]
    # The C library keeps a stack or two of threads that ended.
    assert mappings <= before[2] + 4
    assert sum(int(m.physical_traffic["tx_packets"].sum()) for m in messages) == 110


def test_a_period_of_100_000_connections() -> None:
    """All of them are in messages of at most 256 KiB, each with the nodes that it shows."""
    connections, packet = 100_000, bytearray(UDP4)
    me = netlog.Node("me", addresses=("100.64.0.1",))
    peers = [
        netlog.Node(f"node-{n}", name=f"host-{n}.example.net", addresses=(f"100.65.{n}.1",))
        for n in range(200)
    ]
    shown: list[int] = []
    sizes: list[int] = []

    def write(message: Message) -> None:
        sizes.append(len(message.to_json()))
        shown.append(len(message.virtual_traffic))
        known = {address for node in message.dst_nodes for address in node.addresses}
        third_bytes = {bytes(row)[14] for row in np.unique(message.virtual_traffic["dst"])}
        assert known == {f"100.65.{n}.1" for n in third_bytes}

    data = np.tile(np.frombuffer(packet, np.uint8), (connections, 1))
    numbers = np.arange(connections)
    data[:, 16:20] = (100, 65, 0, 1)
    data[:, 18] = numbers % 200
    data[:, 20], data[:, 21] = numbers >> 16, numbers >> 8 & 0xFF
    data[:, 22], data[:, 23] = numbers & 0xFF, 53
    starts = numbers * len(packet)
    logger = netlog.Logger()
    with netlog.Meter(1 << 17) as meter:
        logger.startup(
            "me",
            tun=netlog.MeterDevice(meter),
            sink=write,
            nodes=netlog.StaticNodes(me, peers),
            poll_period_s=3600,
        )
        meter.update_batch(data.reshape(-1), starts, np.full(connections, len(packet)))
        logger.shutdown()
    counters = logger.counters()
    assert max(sizes) <= 262144
    assert sum(shown) == connections
    assert sum(counters.unattributed.values()) == 0
    # A period alone: an early swap, because the table is nearly full, may make two of it.
    assert counters.split >= len(sizes) - 2 > 10
    assert counters.written == len(sizes)
