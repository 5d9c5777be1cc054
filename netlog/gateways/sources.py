"""Makes the source that a configuration names."""

from pathlib import Path

from netlog.config.sources import (
    OpenVpnSourceConfig,
    SourceConfig,
    TailscaleSourceConfig,
    WireGuardSourceConfig,
)
from netlog.sources import OpenVpnSource, Source, WireGuardSource
from netlog.sources.tailscale.source import TailscaleSource

__all__ = ["open_source"]


def open_source(config: SourceConfig) -> Source:
    """Make the source that a configuration names. It is not asked yet.

    Thread safety: any thread.
    """
    match config:
        case WireGuardSourceConfig():
            return WireGuardSource(config.interface, names=config.names)
        case OpenVpnSourceConfig():
            return OpenVpnSource(config.at, password_file=config.password_file)
        case TailscaleSourceConfig():
            return TailscaleSource(Path(config.socket))
