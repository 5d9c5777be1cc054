"""What the configurations of all kinds of gateways have in common."""

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
from netlog.messages.header import MAX_BYTES, MOST_NODE_BYTES, least_bytes

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
"""With a shorter period, a gateway would spend its time making messages."""
MAX_PERIOD_S = 3600.0
"""With a longer period, a crash would lose more than an hour of counts."""

MAX_LIMIT_BYTES = 1 << 20
"""The smallest spool holds one message of this size, and 64 may wait in memory for each sink."""

ExitTraffic = Literal["aggregate", "anonymize", "log", "drop"]


class NodeConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[node]`: the node that this gateway reports as."""

    id: Text


class NodesConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[nodes]`: the file with the overlay's nodes."""

    file: Text


class PeerConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[peers]]`: another gateway, and the addresses behind it."""

    endpoint: SocketAddress
    allowed_ips: Annotated[tuple[Prefix, ...], msgspec.Meta(min_length=1)]
    name: str = ""


class GatewayConfig(ConfigTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of every gateway: its node, period, bounds and sinks."""

    node: NodeConfig | None = None
    sinks: Annotated[tuple[SinkConfig, ...], msgspec.Meta(min_length=1)] = (StdoutSinkConfig(),)
    poll_period_s: Annotated[float, msgspec.Meta(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)] = 5.0
    exit_traffic: ExitTraffic | None = None
    max_flows: Annotated[int, msgspec.Meta(ge=1, le=MAX_FLOWS)] = 65536
    max_message_bytes: Annotated[int, msgspec.Meta(le=MAX_LIMIT_BYTES)] = MAX_BYTES
    meter: AbsolutePath | None = None
    nodes: NodesConfig | None = None
    peers: tuple[PeerConfig, ...] = ()

    @property
    def node_id(self) -> str:
        """The `nodeId` of the messages: `node.id`, or the host's name."""
        return self.node.id if self.node else socket.gethostname()


def contradictions(config: GatewayConfig) -> Iterator[str]:
    """Errors of keys of any gateway that contradict each other."""
    yield from doubles("peers", [peer.endpoint for peer in config.peers], ".endpoint")
    yield from sink_contradictions(config.sinks)
    yield from _places_of_the_meter(config)
    yield from _too_small(config)


def _places_of_the_meter(config: GatewayConfig) -> Iterator[str]:
    """Errors of sinks that use the meter's file, or the spool directory beside it."""
    if config.meter is None:
        return
    owned = {os.path.normpath(config.meter), os.path.normpath(f"{config.meter}.spool")}
    for i, sink in enumerate(config.sinks):
        for key in ("path", "spool"):
            path = getattr(sink, key, None)
            if path is not None and os.path.normpath(path) in owned:
                yield f"sinks[{i}].{key}: expected another path, this one belongs to the meter"


def _too_small(config: GatewayConfig) -> Iterator[str]:
    named = config.nodes is not None or getattr(config, "source", None) is not None
    least = least_bytes(config.node_id) + (MOST_NODE_BYTES if named else 0)
    if config.max_message_bytes < least:
        yield f"max_message_bytes: expected a whole number >= {least}"
