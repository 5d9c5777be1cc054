"""The observation points: what crosses a device's descriptor is counted."""

from typing import Protocol

from netlog._counted import Refusals
from netlog.batch import PacketBatch
from netlog.endpoints import ENDPOINT_DTYPE
from netlog.flows import FlowArray
from netlog.sock import SockDevice
from netlog.tun import TunDevice

__all__ = ["ENDPOINT_DTYPE", "Device", "PacketBatch", "Refusals", "SockDevice", "TunDevice"]


class Device(Protocol):
    """An observation point that a Logger polls: TunDevice, SockDevice, or a user's own.

    Source: Tailscale wgengine/netlog, the interface of the same name.
    """

    def set_statistics_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - the interface's own
        """Start or stop counting."""

    def extract_statistics(self) -> FlowArray:
        """Take what was counted since the last extraction, and clear it.

        Returns:
            FLOW_DTYPE, shape (n,); what has no connection is a row without addresses.
        """
        ...
