"""What a configuration says, as the running parts of a gateway take it."""

import contextlib
import socket
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from netlog.config.external import ExternalConfig
from netlog.config.gateway import GatewayConfig, NodeConfig
from netlog.config.node_file import NodeFile
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
    """How a gateway that is not ours is reported.

    Attributes:
        node_id: `nodeId` of the messages.
        routes: how traffic is classified; the addresses of the TUN are added, and what `source`
            says.
        peers: who is behind which endpoint; those of `source` are added, and win.
        nodes: who is who in the overlay; None: as `source` says.
        source: who knows more of it, or None; `source_name` is what reports call it.
        exit_traffic, poll_period_s, max_bytes: as for `Logger.startup`.
        max_flows: connections that a thread can count in a period.
        meter: the file that the meter lies in, or None.
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
    """The peers of a configuration, as the relay and the logger take them."""
    return tuple(
        Peer(
            endpoint=str(peer.endpoint),
            allowed_ips=tuple(map(str, peer.allowed_ips)),
            name=peer.name,
        )
        for peer in config.peers
    )


def router_of(config: RelayConfig) -> RouterConfig:
    """The routes by which a configuration's traffic is classified."""
    return RouterConfig(
        local_addrs=[address.host for address in config.tun.addresses],
        routes=[str(prefix) for peer in config.peers for prefix in peer.allowed_ips],
        subnet_routes=[str(prefix) for prefix in config.routes.subnets],
    )


def with_node(config: Config) -> Config:
    """A configuration that says who reports: as it was, or as its source knows, or as the host.

    Thread safety: any thread.
    """
    if config.node is not None:
        return config
    name = None
    if config.source is not None:
        # That it can not be had now is said when the metering begins.
        with contextlib.suppress(OSError, ValueError):
            nodes = open_source(config.source).snapshot().nodes
            name = nodes.self_node.node_id if nodes and nodes.self_node else None
    return msgspec.structs.replace(config, node=NodeConfig(id=Text(name or socket.gethostname())))


def external_settings(config: ExternalConfig) -> dict[str, Any]:
    """The settings of a configuration, by their names in `ExternalSettings`.

    Args:
        config: one that says who reports.

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
        "nodes": None if config.nodes is None else NodeFile(config.nodes.file),
        "source": None if config.source is None else open_source(config.source),
        "source_name": str(config.source),
        "exit_traffic": config.exit_traffic,
        "poll_period_s": config.poll_period_s,
        "max_bytes": config.max_message_bytes,
        "max_flows": config.max_flows,
        "meter": config.meter,
    }
