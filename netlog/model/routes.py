"""The router's configuration: the addresses and prefixes that the node handles."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["PREFIX_DTYPE", "Network", "NetworkLike", "PrefixArray", "RouterConfig", "prefix_array"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
NetworkLike: TypeAlias = str | Network | ipaddress.IPv4Interface | ipaddress.IPv6Interface
PrefixArray: TypeAlias = npt.NDArray[np.void]

PREFIX_DTYPE = np.dtype(
    [
        ("address", "V16"),
        ("version", np.uint8),
        ("length", np.uint8),
        ("reserved", np.uint16),
        ("clear", np.uint32),
        ("set", np.uint32),
    ]
)
"""One prefix: 28 bytes, `struct netlog_prefix` of csrc/prefixes/prefixes.h."""

_MAPPED = 0xFFFF << 32


@dataclass(frozen=True, slots=True, init=False)
class RouterConfig:
    """The configuration of this node's router; compared by its values.

    Each argument is an iterable of text (`10.0.0.0/8`, `fd00::1`), networks or interfaces. Host
    bits are dropped. The attributes are tuples of networks in the given order.

    Args:
        local_addrs: the node's own addresses.
        routes: prefixes that are reached through the overlay.
        subnet_routes: prefixes that this node offers to the overlay.

    Raises:
        ValueError: a value is not a prefix. The text names the value and the argument.

    Thread safety: immutable.
    Source: router.Config of Tailscale.
    """

    local_addrs: tuple[Network, ...]
    routes: tuple[Network, ...]
    subnet_routes: tuple[Network, ...]
    # All three in the core's form. Made only once, not in every period.
    _prefixes: PrefixArray = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        local_addrs: Iterable[NetworkLike] = (),
        routes: Iterable[NetworkLike] = (),
        subnet_routes: Iterable[NetworkLike] = (),
    ) -> None:
        kinds = {"local_addrs": local_addrs, "routes": routes, "subnet_routes": subnet_routes}
        networks: list[Network] = []
        for name, values in kinds.items():
            parsed = _parse_networks(values, name)
            object.__setattr__(self, name, parsed)
            networks += parsed
        prefixes = prefix_array(networks)
        prefixes.flags.writeable = False
        object.__setattr__(self, "_prefixes", prefixes)

    @property
    def prefixes(self) -> PrefixArray:
        """All prefixes of the three kinds, with `clear` and `set` 0; read-only."""
        return self._prefixes


def prefix_array(networks: Iterable[NetworkLike]) -> PrefixArray:
    """Networks in the core's form.

    Args:
        networks: text, networks or interfaces.

    Returns:
        An array of PREFIX_DTYPE, shape (n,), with `clear` and `set` 0.

    Raises:
        ValueError: a value is not a prefix.
    """
    parsed = _parse_networks(networks, "networks")
    prefixes = np.zeros(len(parsed), PREFIX_DTYPE)
    addresses = b"".join(
        (int(network.network_address) | (_MAPPED if network.version == 4 else 0)).to_bytes(16)  # noqa: PLR2004 - IP versions
        for network in parsed
    )
    prefixes["address"] = np.frombuffer(addresses, "V16") if parsed else b""
    prefixes["version"] = [network.version for network in parsed]
    prefixes["length"] = [network.prefixlen for network in parsed]
    return prefixes


def _parse_networks(values: Iterable[NetworkLike], name: str) -> tuple[Network, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ValueError(f"{name}: expected a list of prefixes, got {values!r}")  # noqa: TRY004 - a value
    return tuple(_parse_network(value, name) for value in values)


def _parse_network(value: NetworkLike, name: str) -> Network:
    match value:
        case ipaddress.IPv4Interface() | ipaddress.IPv6Interface():
            return value.network
        case ipaddress.IPv4Network() | ipaddress.IPv6Network():
            return value
        case str():
            try:
                return ipaddress.ip_network(value, strict=False)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        case _:
            raise ValueError(f"{name}: expected a prefix such as 10.0.0.0/8, got {value!r}")
