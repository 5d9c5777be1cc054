"""netlog meters the traffic of an overlay gateway and emits network flow log messages."""

from typing import TYPE_CHECKING

from netlog._lazy import lazy_names
from netlog._version import __version__

if TYPE_CHECKING:
    from netlog.devices import ENDPOINT_DTYPE, Device, PacketBatch, Refusals, SockDevice, TunDevice
    from netlog.errors import ConfigError, DeviceError, MeterFileError, NetlogError, StateError
    from netlog.flows import FLOW_DTYPE, flow_array
    from netlog.logger import Logger, LoggerCounters
    from netlog.message import Message, build_messages, iter_messages
    from netlog.meter import DATAGRAM_DTYPE, Meter
    from netlog.meter_device import MeterDevice
    from netlog.node_file import NodeFile
    from netlog.nodes import Node, NodeMap, NodeSource, StaticNodes
    from netlog.relay import Count, Peer, Relay, RelayCounters
    from netlog.routes import RouterConfig
    from netlog.sinks import FileSink, Sink, StreamSink
    from netlog.snapshot import Snapshot, Unattributed
else:  # mypy would take every name for one of the package
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ConfigError": "errors",
            "Count": "relay",
            "DATAGRAM_DTYPE": "meter",
            "Device": "devices",
            "DeviceError": "errors",
            "ENDPOINT_DTYPE": "devices",
            "FLOW_DTYPE": "flows",
            "FileSink": "sinks",
            "Logger": "logger",
            "LoggerCounters": "logger",
            "Message": "message",
            "Meter": "meter",
            "MeterDevice": "meter_device",
            "MeterFileError": "errors",
            "NetlogError": "errors",
            "Node": "nodes",
            "NodeFile": "node_file",
            "NodeMap": "nodes",
            "NodeSource": "nodes",
            "PacketBatch": "devices",
            "Peer": "relay",
            "Refusals": "devices",
            "Relay": "relay",
            "RelayCounters": "relay",
            "RouterConfig": "routes",
            "Sink": "sinks",
            "Snapshot": "snapshot",
            "SockDevice": "devices",
            "StateError": "errors",
            "StaticNodes": "nodes",
            "StreamSink": "sinks",
            "TunDevice": "devices",
            "Unattributed": "snapshot",
            "build_messages": "message",
            "flow_array": "flows",
            "iter_messages": "message",
        },
    )

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
    "MeterDevice",
    "MeterFileError",
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
