"""What the configurations of all gateways have in common, whoever moves their packets."""

import os
import socket
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from netlog.config.sinks import (
    ConfigTable,
    SinkConfig,
    StdoutSinkConfig,
    doubles,
    sink_contradictions,
)
from netlog.config.values import AbsolutePath, Prefix, SocketAddress, Text

__all__ = [
    "MAX_PERIOD_S",
    "MIN_PERIOD_S",
    "GatewayConfig",
    "NodeConfig",
    "NodesConfig",
    "PeerConfig",
    "contradictions",
]

MAX_FLOWS = 1 << 26
"""NETLOG_MAX_FLOWS of csrc/include/netlog.h."""
MIN_PERIOD_S = 0.1
"""Below this a gateway would spend its time on making messages."""
MAX_PERIOD_S = 3600.0
"""Above this a crash would cost more than an hour of counts."""

MAX_MESSAGE_BYTES = 262144
"""Source: maxLogSize of Tailscale's wgengine/netlog."""
MAX_LIMIT_BYTES = 1 << 20
"""64 messages may wait in memory for each sink, and the smallest spool holds one of these."""

ExitTraffic = Literal["aggregate", "anonymize", "log", "drop"]


class NodeConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[node]`: who this gateway is in its messages."""

    id: Text


class NodesConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[nodes]`: who is who in the overlay."""

    file: Text


class PeerConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[peers]]`: another gateway, and the addresses behind it."""

    endpoint: SocketAddress
    allowed_ips: Annotated[tuple[Prefix, ...], msgspec.Meta(min_length=1)]
    name: str = ""


class GatewayConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every gateway has: a name, a period, bounds, and sinks."""

    node: NodeConfig | None = None
    sinks: Annotated[tuple[SinkConfig, ...], msgspec.Meta(min_length=1)] = (StdoutSinkConfig(),)
    poll_period_s: Annotated[float, msgspec.Meta(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)] = 5.0
    exit_traffic: ExitTraffic | None = None
    max_flows: Annotated[int, msgspec.Meta(ge=1, le=MAX_FLOWS)] = 65536
    max_message_bytes: Annotated[int, msgspec.Meta(le=MAX_LIMIT_BYTES)] = MAX_MESSAGE_BYTES
    meter: AbsolutePath | None = None
    nodes: NodesConfig | None = None
    peers: tuple[PeerConfig, ...] = ()

    @property
    def node_id(self) -> str:
        """`nodeId` of the messages: as it says, or the host's name."""
        return self.node.id if self.node else socket.gethostname()


def contradictions(config: GatewayConfig) -> Iterator[str]:
    """Keys of any gateway that are right each, but not together."""
    yield from doubles("peers", [peer.endpoint for peer in config.peers], ".endpoint")
    yield from sink_contradictions(config.sinks)
    yield from _places_of_the_meter(config)
    if config.max_message_bytes != MAX_MESSAGE_BYTES:
        yield from _too_small(config)


def _places_of_the_meter(config: GatewayConfig) -> Iterator[str]:
    """The meter's file and the directory beside it belong to nobody else."""
    if config.meter is None:
        return
    owned = {os.path.normpath(config.meter), os.path.normpath(f"{config.meter}.spool")}
    for i, sink in enumerate(config.sinks):
        for key in ("path", "spool"):
            path = getattr(sink, key, None)
            if path is not None and os.path.normpath(path) in owned:
                yield f"sinks[{i}].{key}: expected a place of its own, this is the meter's"


def _too_small(config: GatewayConfig) -> Iterator[str]:
    # Imported here, as it brings numpy, and few say how long a message may be.
    from netlog.messages.build import smallest_max_bytes  # noqa: PLC0415

    told = config.nodes is not None or getattr(config, "source", None) is not None
    least = smallest_max_bytes(config.node_id, _AnyNodes() if told else None)
    if config.max_message_bytes < least:
        yield f"max_message_bytes: expected a whole number >= {least}"


class _AnyNodes:
    """A source whose nodes are not known before it is asked: each may be as long as a node can."""

    def snapshot(self) -> None:
        """None are known."""
