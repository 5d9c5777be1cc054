"""netlog meters the traffic of an overlay gateway and emits network flow log messages."""

from netlog.errors import ConfigError, DeviceError, NetlogError, StateError
from netlog.flows import FLOW_DTYPE

__all__ = ["FLOW_DTYPE", "ConfigError", "DeviceError", "NetlogError", "StateError"]
