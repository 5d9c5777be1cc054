"""What a logger expects of an observation point, and a device for a meter of another process."""

from typing import Protocol

import numpy as np

from netlog.meter.meter import Meter
from netlog.model.flows import FLOW_DTYPE, FlowArray

__all__ = ["Device", "MeterDevice"]


class Device(Protocol):
    """An observation point that a Logger polls: TunDevice, SockDevice, or a user's own.

    Source: Tailscale wgengine/netlog, the interface of the same name.
    """

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - the interface's own
        """Start or stop counting."""

    def extract_statistics(self) -> FlowArray:
        """Return what was counted since the last extraction, and clear it.

        Returns:
            FLOW_DTYPE, shape (n,); packets without a connection are a row without addresses.
        """
        ...


class MeterDevice:
    """A device for a logger that polls a meter which another process or other code counts into.

    Pass one as `tun`, one as `sock`, or both of the same meter.

    Args:
        meter: the caller closes it, after the logger has stopped.

    Thread safety: any thread.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - Device's signature
        """Do nothing: the code that counts decides."""

    def extract_statistics(self) -> FlowArray:
        """Return nothing: a logger polls the meter itself.

        Returns:
            FLOW_DTYPE, shape (0,).
        """
        return np.zeros(0, FLOW_DTYPE)
