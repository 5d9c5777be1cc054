"""Where names, peers and routes come from: what a gateway that is not ours knows of its overlay."""

from netlog.sources.base import KeptSource, Overlay, Source, StaticSource
from netlog.sources.openvpn import OpenVpnSource
from netlog.sources.wireguard import WireGuardSource

__all__ = ["KeptSource", "OpenVpnSource", "Overlay", "Source", "StaticSource", "WireGuardSource"]
