"""netlog meters the traffic of an overlay gateway and emits network flow log messages."""

from netlog.errors import ConfigError, DeviceError, NetlogError, StateError
from netlog.flows import FLOW_DTYPE
from netlog.meter import DATAGRAM_DTYPE, Meter, Snapshot, Unattributed

__all__ = [
    "DATAGRAM_DTYPE",
    "FLOW_DTYPE",
    "ConfigError",
    "DeviceError",
    "Meter",
    "NetlogError",
    "Snapshot",
    "StateError",
    "Unattributed",
]
