"""The public interface as a type checker sees it. `make lint` checks this file; nothing runs it.

`assert_type` says what a user of a call gets. Where a comment ignores an error, there must be one:
mypy finds fault with a comment that nothing needs.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

import netlog
from netlog import (
    Count,
    Device,
    FileSink,
    Logger,
    LoggerCounters,
    Message,
    Meter,
    MeterDevice,
    Node,
    NodeFile,
    NodeMap,
    NodeSource,
    PacketBatch,
    Peer,
    Refusals,
    Relay,
    RelayCounters,
    RouterConfig,
    Sink,
    Snapshot,
    SockDevice,
    StaticNodes,
    StreamSink,
    TunDevice,
    Unattributed,
    build_messages,
    flow_array,
    iter_messages,
)
from netlog.sinks import (
    Backoff,
    DurableSink,
    FileShipper,
    HecShipper,
    HttpJsonShipper,
    LogtailShipper,
    NotTaken,
    PeriodId,
    QueuedSink,
    Reports,
    Rotation,
    Shipper,
    SinkCounters,
    SinkGroup,
    SpooledSink,
    Timeouts,
    new_private_id,
    public_id,
)
from netlog.sources import KeptSource, OpenVpnSource, Overlay, Source, StaticSource, WireGuardSource
from netlog.spool import Position, Record, Spool, SpoolCounters

Rows = npt.NDArray[np.void]


def rows_have_types() -> None:
    """numpy's, for the rows that the core and Python share."""
    dtypes: list[np.dtype[np.void]] = [netlog.FLOW_DTYPE, netlog.DATAGRAM_DTYPE]
    assert_type(netlog.ENDPOINT_DTYPE.itemsize, int)
    assert_type(dtypes[0].itemsize, int)


def packets_are_counted(packet: bytes, data: bytearray) -> None:
    """By a meter that the caller has."""
    with Meter(1024, max_lanes=2) as meter:
        assert_type(meter, Meter)
        assert_type(meter.update_tx(packet), None)
        meter.update_rx(memoryview(data))
        meter.update_rx("packet")  # type: ignore[arg-type]
        meter.update_batch(data, np.zeros(1, np.uint64), np.zeros(1, np.uint32), rx=True)
        assert_type(meter.extract(), Rows)
        assert_type(meter.unattributed, Unattributed)
        assert_type(meter.unattributed.packets, int)
        snapshot = meter.snapshot(timeout_s=0.1)
        assert_type(snapshot, Snapshot)
        assert_type(snapshot.tun_rows(), Rows)
        assert_type(snapshot.late_lanes, int)
    assert_type(Meter.create(Path("/run/meter"), 1024), Meter)
    assert_type(Meter.attach("/run/meter", poll=True), Meter)


def devices_count(meter: Meter) -> None:
    """What they carry, each on its own meter or all on one."""
    batch = PacketBatch(64, 2048)
    assert_type(batch.packet(0), memoryview)
    with TunDevice.open("tun0", meter=meter) as tun, SockDevice.bind("::", 0, meter=meter) as sock:
        assert_type(tun, TunDevice)
        assert_type(tun.read(timeout_s=1.0), bytes)
        assert_type(tun.read_batch(batch), int)
        assert_type(tun.offloads, frozenset[str])
        assert_type(sock, SockDevice)
        assert_type(sock.recvfrom(), tuple[bytes, tuple[str, int]])
        assert_type(sock.send_batch(batch, 1), int)
        assert_type(sock.address, tuple[str, int])
        assert_type(sock.refusals, Refusals)
        sock.sendto(b"x", "192.0.2.1:1")  # type: ignore[arg-type]
    assert_type(TunDevice.open_queues("tun0", 2), list[TunDevice])


def a_relay_forwards(tun: TunDevice, sock: SockDevice) -> None:
    """Between devices, to peers."""
    peer = Peer("192.0.2.2:41641", ("100.64.0.2/32",), name="b")
    assert_type(peer.allowed_ips, tuple[str, ...])
    with Relay(tun, sock, [peer]) as relay:
        assert_type(relay, Relay)
        assert_type(relay.running, bool)
        assert_type(relay.wait(1.0), bool)
        assert_type(relay.error, netlog.NetlogError | None)
        counters = relay.counters()
        assert_type(counters, RelayCounters)
        assert_type(counters.tx, Count)
        assert_type(counters.tx_dropped, Mapping[str, Count])
    assert_type(Relay([tun], [sock], (peer,)), Relay)


class Own:
    """A device of the user's own."""

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - Device's signature
        """Switch."""

    def extract_statistics(self) -> Rows:
        """Give nothing."""
        return flow_array([])


def a_logger_polls(meter: Meter, nodes: NodeSource, sink: Sink) -> None:
    """Devices of netlog's and of others, into a sink, a method or a function."""
    devices: list[Device] = [MeterDevice(meter), Own()]
    logger, found = Logger(), list[Message]()
    logger.startup("n", tun=devices[0], sock=devices[1], sink=sink, nodes=nodes)
    logger.startup("n", tun=devices[0], sink=found.append, poll_period_s=0.5)
    logger.startup("n", sink="flows.jsonl")  # type: ignore[arg-type]
    logger.reconfig_routes(RouterConfig(routes=["100.64.0.0/10"]))
    logger.reconfig_peers(iter([Peer("192.0.2.2:1", ())]))
    assert_type(logger.running, bool)
    counters = logger.counters()
    assert_type(counters, LoggerCounters)
    assert_type(counters.sinks, Mapping[str, SinkCounters])
    assert_type(logger.shutdown(timeout_s=1.0), None)


def messages_are_made(rows: Rows) -> None:
    """Of the rows of a period, and read again."""
    row = (6, "100.64.0.1:1", "100.64.0.2:2", 1, 40, 0, 0)
    routes = RouterConfig(local_addrs=["100.64.0.1"], routes=["100.64.0.0/10"])
    made = build_messages(
        node_id="n", start="2026-01-01T00:00:00Z", end=1, tun=flow_array([row]), sock=None,
        routes=routes,
    )  # fmt: skip
    assert_type(made, list[Message])
    lazily = iter_messages(node_id="n", start=0, end=1, tun=rows, sock=rows, routes=[routes])
    assert_type(lazily, Iterator[Message])
    message = Message.from_json(b"{}")
    assert_type(message, Message)
    assert_type(message.to_json(), bytes)
    assert_type(message.virtual_traffic, Rows)
    assert_type(message.start_ns, int)
    assert_type(message.src_node, Node | None)
    assert_type(message.dst_nodes, tuple[Node, ...])


def nodes_are_known() -> None:
    """By the caller, or from a file."""
    me = Node("n", "name", ["100.64.0.1"], tags=["tag:a"])
    assert_type(me.addresses, tuple[str, ...])
    assert_type(me.to_json(), bytes)
    sources: list[NodeSource] = [StaticNodes(me, [Node("b")]), NodeFile("nodes.json")]
    assert_type(sources[0].snapshot(), NodeMap | None)


def sinks_take_messages(path: Path, message: Message) -> None:
    """Plain, durable, and several as one."""
    rotation = Rotation(max_bytes=1 << 20, zstd=True)
    plain: list[Sink] = [FileSink(path, rotation=rotation), StreamSink(path.open("wb"))]
    queued = QueuedSink(plain[0], "file")
    spool = Spool(path, max_bytes=1 << 20)
    durable: DurableSink = SpooledSink(spool, FileShipper(FileSink(path)), node_id="n", name="file")
    assert_type(durable.begin(PeriodId(bytes(16), 1)), bool)
    durable.write(message)
    group = SinkGroup({"queued": queued, "durable": durable})
    reports: list[Reports] = [queued, group]
    assert_type(reports[0].counters(), Mapping[str, SinkCounters])
    assert_type(public_id(new_private_id()), str)


def shippers_ship() -> None:
    """To other machines, each in its own way."""
    timeouts = Timeouts(connect_s=1.0)
    shippers: list[Shipper] = [
        HecShipper("https://a", "token", user="u", timeouts=timeouts),
        HttpJsonShipper("https://a", {"X-Key": "k"}, compression="gzip", timeouts=timeouts),
        LogtailShipper("https://a", "b.example.com", new_private_id()),
    ]
    assert_type(shippers[0].ship([]), bytes)
    assert_type(Backoff(max_s=60.0).after_failure(), float)
    assert_type(NotTaken("full", 1.0).retry_after_s, float | None)


def a_spool_keeps(spool: Spool) -> None:
    """Records, until they are passed."""
    records = spool.read(16, 1 << 20)
    assert_type(records, list[Record])
    assert_type(records[0].payload, bytes)
    assert_type(spool.position, Position)
    assert_type(spool.counters(), SpoolCounters)
    assert_type(spool.wait(None), bool)


def sources_tell(source: Source) -> None:
    """Of peers, routes and nodes."""
    sources: list[Source] = [
        StaticSource(Overlay()), WireGuardSource("wg0"), OpenVpnSource("127.0.0.1:7505"),
    ]  # fmt: skip
    kept = KeptSource(sources[0], "name")
    assert_type(kept.snapshot(), Overlay)
    assert_type(source.snapshot().peers, tuple[Peer, ...])
    assert_type(source.snapshot().nodes, NodeMap | None)


def errors_have_one_base(error: netlog.NetlogError) -> int | None:
    """And those of the system have their number."""
    handlers: list[Callable[[str], netlog.NetlogError]] = [netlog.ConfigError, netlog.StateError]
    handlers.append(netlog.MeterFileError)
    assert_type(handlers[0]("text"), netlog.NetlogError)
    return error.errno if isinstance(error, netlog.DeviceError) else None
