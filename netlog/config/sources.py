"""The `[source]` of a configuration: who knows the overlay of a gateway that is not netlog's."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from netlog.config.sinks import ConfigTable
from netlog.config.values import AbsolutePath, InterfaceName, Text
from netlog.model.addresses import split_place

__all__ = [
    "OpenVpnSourceConfig",
    "SourceConfig",
    "TailscaleSourceConfig",
    "WireGuardSourceConfig",
    "source_table",
]

TAILSCALE_SOCKET = "/var/run/tailscale/tailscaled.sock"
"""Where tailscaled listens on Linux unless told otherwise."""
KEYS = {"wireguard": "interface", "openvpn": "at", "tailscale": "socket"}
"""What follows the kind in `KIND:WHERE`."""


class WireGuardSourceConfig(
    ConfigTable, frozen=True, forbid_unknown_fields=True, tag="wireguard", kw_only=True
):
    """`wireguard`: an interface, in user space or of the kernel; `names` by public key."""

    interface: InterfaceName
    names: dict[str, str] = msgspec.field(default_factory=dict)

    def contradictions(self) -> Iterator[str]:
        """A name for something that is no key would never be seen."""
        for key in self.names:
            if not _is_key(key):
                yield "source.names: expected a public key in base64 for each name"

    def __str__(self) -> str:
        return f"wireguard {self.interface}"


class OpenVpnSourceConfig(
    ConfigTable, frozen=True, forbid_unknown_fields=True, tag="openvpn", kw_only=True
):
    """`openvpn`: a management interface, or a status file."""

    at: Text
    password_file: AbsolutePath | None = None

    def contradictions(self) -> Iterator[str]:
        """What is at a path is seen when it is asked, but this must be one, or host:port."""
        try:
            split_place(self.at)
        except ValueError as error:
            yield f"source.at: {error}"

    def __str__(self) -> str:
        return f"openvpn {self.at}"


class TailscaleSourceConfig(
    ConfigTable, frozen=True, forbid_unknown_fields=True, tag="tailscale", kw_only=True
):
    """`tailscale`: the socket of tailscaled."""

    socket: AbsolutePath = AbsolutePath(TAILSCALE_SOCKET)

    def contradictions(self) -> Iterator[str]:
        """None: there is one key."""
        yield from ()

    def __str__(self) -> str:
        return f"tailscale {self.socket}"


SourceConfig = WireGuardSourceConfig | OpenVpnSourceConfig | TailscaleSourceConfig


def source_table(text: str) -> Mapping[str, Any]:
    """What `KIND[:WHERE]` of a command line stands for in a configuration.

    Args:
        text: such as `wireguard:wg0`, `openvpn:/run/openvpn/server.status` or `tailscale`.

    Returns:
        The table of `[source]`; whether its values are right is seen when it is read.

    Raises:
        ValueError: there is no such kind.

    Thread safety: any thread.
    """
    kind, colon, where = text.partition(":")
    if kind not in KEYS:
        raise ValueError(f"expected one of {', '.join(KEYS)}, got {kind!r}")
    return {"type": kind} | ({KEYS[kind]: where} if colon else {})


def _is_key(text: str) -> bool:
    import base64  # noqa: PLC0415 - few give names

    try:
        return len(base64.b64decode(text, validate=True)) == 32  # noqa: PLR2004 - Curve25519
    except ValueError:
        return False
