"""netlog meters the traffic of an overlay gateway and emits network flow log messages."""

from netlog.devices import ENDPOINT_DTYPE, Device, PacketBatch, Refusals, SockDevice, TunDevice
from netlog.errors import ConfigError, DeviceError, NetlogError, StateError
from netlog.flows import FLOW_DTYPE
from netlog.meter import DATAGRAM_DTYPE, Meter, Snapshot, Unattributed
from netlog.relay import Count, Peer, Relay, RelayCounters

__all__ = [
    "DATAGRAM_DTYPE",
    "ENDPOINT_DTYPE",
    "FLOW_DTYPE",
    "ConfigError",
    "Count",
    "Device",
    "DeviceError",
    "Meter",
    "NetlogError",
    "PacketBatch",
    "Peer",
    "Refusals",
    "Relay",
    "RelayCounters",
    "Snapshot",
    "SockDevice",
    "StateError",
    "TunDevice",
    "Unattributed",
]
