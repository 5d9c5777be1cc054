"""Translates a configuration for the running parts of a gateway."""

import contextlib
import socket
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from netlog.config.external import ExternalConfig
from netlog.config.gateway import GatewayConfig, NodeConfig
from netlog.config.node_file import open_node_file
from netlog.config.relay import RelayConfig
from netlog.config.values import Text
from netlog.gateways.sources import open_source
from netlog.model.nodes import NodeSource
from netlog.model.peers import Peer
from netlog.model.routes import RouterConfig
from netlog.sources import Source

__all__ = ["ExternalSettings", "external_settings", "peers_of", "router_of", "with_node"]

Config = TypeVar("Config", bound=ExternalConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSettings:
    """The settings for the logger of a gateway whose packets another program moves.

    Attributes:
        node_id: the `nodeId` of the messages.
        routes: the routes that classify traffic. The addresses of the TUN and the routes of
            `source` are added.
        peers: the peers by endpoint. Those of `source` are added, and override these.
        nodes: the nodes of the overlay; None: those of `source`.
        source: the source that knows the overlay, or None.
        source_name: the name of the source in reports.
        exit_traffic, poll_period_s, max_bytes: as for `Logger.startup`.
        max_flows: connections that a thread can count in a period.
        meter: the file of the meter; None: the meter is in memory.
    """

    node_id: str
    routes: RouterConfig = field(default_factory=RouterConfig)
    peers: tuple[Peer, ...] = ()
    nodes: NodeSource | None = None
    source: Source | None = None
    source_name: str = "source"
    exit_traffic: str | None = None
    poll_period_s: float = 5.0
    max_bytes: int = 262144
    max_flows: int = 65536
    meter: str | None = None


def peers_of(config: GatewayConfig) -> tuple[Peer, ...]:
    """The peers of a configuration, for the relay and the logger."""
    return tuple(
        Peer(
            endpoint=str(peer.endpoint),
            allowed_ips=tuple(map(str, peer.allowed_ips)),
            name=peer.name,
        )
        for peer in config.peers
    )


def router_of(config: RelayConfig) -> RouterConfig:
    """The routes that classify the traffic of a configuration."""
    return RouterConfig(
        local_addrs=[address.host for address in config.tun.addresses],
        routes=[str(prefix) for peer in config.peers for prefix in peer.allowed_ips],
        subnet_routes=[str(prefix) for prefix in config.routes.subnets],
    )


def with_node(config: Config) -> Config:
    """The configuration with a node id: its own, otherwise the source's, otherwise the host name.

    Thread safety: any thread.
    """
    if config.node is not None:
        return config
    name = None
    if config.source is not None:
        # A source that does not answer now is reported when the metering begins.
        with contextlib.suppress(OSError, ValueError):
            nodes = open_source(config.source).snapshot().nodes
            name = nodes.self_node.node_id if nodes and nodes.self_node else None
    return msgspec.structs.replace(config, node=NodeConfig(id=Text(name or socket.gethostname())))


def external_settings(config: ExternalConfig) -> dict[str, Any]:
    """The settings of a configuration, by their names in `ExternalSettings`.

    Args:
        config: the configuration, with a node id.

    Raises:
        ConfigError: the file of nodes is wrong.

    Thread safety: any thread.
    """
    return {
        "node_id": config.node_id,
        "routes": RouterConfig(
            routes=map(str, config.routes.overlay), subnet_routes=map(str, config.routes.subnets)
        ),
        "peers": peers_of(config),
        "nodes": open_node_file(config.nodes),
        "source": None if config.source is None else open_source(config.source),
        "source_name": str(config.source),
        "exit_traffic": config.exit_traffic,
        "poll_period_s": config.poll_period_s,
        "max_bytes": config.max_message_bytes,
        "max_flows": config.max_flows,
        "meter": config.meter,
    }
