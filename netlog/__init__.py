"""netlog meters the traffic of an overlay gateway and emits network flow log messages."""

from netlog._version import __version__
from netlog.devices import ENDPOINT_DTYPE, Device, PacketBatch, Refusals, SockDevice, TunDevice
from netlog.errors import ConfigError, DeviceError, NetlogError, StateError
from netlog.flows import FLOW_DTYPE, flow_array
from netlog.logger import Logger, LoggerCounters
from netlog.message import Message, build_messages, iter_messages
from netlog.meter import DATAGRAM_DTYPE, Meter, Snapshot, Unattributed
from netlog.node_file import NodeFile
from netlog.nodes import Node, NodeMap, NodeSource, StaticNodes
from netlog.relay import Count, Peer, Relay, RelayCounters
from netlog.routes import RouterConfig
from netlog.sinks import FileSink, Sink, StreamSink

__all__ = [
    "DATAGRAM_DTYPE",
    "ENDPOINT_DTYPE",
    "FLOW_DTYPE",
    "ConfigError",
    "Count",
    "Device",
    "DeviceError",
    "FileSink",
    "Logger",
    "LoggerCounters",
    "Message",
    "Meter",
    "NetlogError",
    "Node",
    "NodeFile",
    "NodeMap",
    "NodeSource",
    "PacketBatch",
    "Peer",
    "Refusals",
    "Relay",
    "RelayCounters",
    "RouterConfig",
    "Sink",
    "Snapshot",
    "SockDevice",
    "StateError",
    "StaticNodes",
    "StreamSink",
    "TunDevice",
    "Unattributed",
    "__version__",
    "build_messages",
    "flow_array",
    "iter_messages",
]
