from .base import KeptSource as KeptSource
from .base import Overlay as Overlay
from .base import Source as Source
from .base import StaticSource as StaticSource
from .openvpn.source import OpenVpnSource as OpenVpnSource
from .wireguard.source import WireGuardSource as WireGuardSource
