"""The `[source]` of a configuration: it knows the overlay of a gateway of another program."""

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
"""The default socket of tailscaled on Linux."""
KEYS = {"wireguard": "interface", "openvpn": "at", "tailscale": "socket"}
"""The key for which the WHERE of `KIND:WHERE` stands, by kind."""


class WireGuardSourceConfig(
    ConfigTable, frozen=True, forbid_unknown_fields=True, tag="wireguard", kw_only=True
):
    """`wireguard`: an interface of the kernel or of user space; `names` has names by public key."""

    interface: InterfaceName
    names: dict[str, str] = msgspec.field(default_factory=dict)

    def contradictions(self) -> Iterator[str]:
        """Errors of `names` whose key is not a public key: such a name would never be used."""
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
        """An error if `at` is neither a path nor host:port. The path need not exist yet."""
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
        """No errors: one key cannot contradict another."""
        yield from ()

    def __str__(self) -> str:
        return f"tailscale {self.socket}"


SourceConfig = WireGuardSourceConfig | OpenVpnSourceConfig | TailscaleSourceConfig


def source_table(text: str) -> Mapping[str, Any]:
    """The `[source]` table that `KIND[:WHERE]` on a command line stands for.

    Args:
        text: such as `wireguard:wg0`, `openvpn:/run/openvpn/server.status` or `tailscale`.

    Returns:
        The table. Its values are not checked yet; reading the configuration checks them.

    Raises:
        ValueError: the kind is unknown.

    Thread safety: any thread.
    """
    kind, colon, where = text.partition(":")
    if kind not in KEYS:
        raise ValueError(f"expected one of {', '.join(KEYS)}, got {kind!r}")
    return {"type": kind} | ({KEYS[kind]: where} if colon else {})


def _is_key(text: str) -> bool:
    import base64  # noqa: PLC0415 - few configurations have names

    try:
        return len(base64.b64decode(text, validate=True)) == 32  # noqa: PLR2004 - Curve25519
    except ValueError:
        return False
