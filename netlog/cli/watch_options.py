"""The options of `netlog watch`, and what they and a configuration make of a watch."""

import argparse
import socket
from typing import Any

from netlog._values import InterfaceName, Prefix, Text, decode
from netlog.config import MAX_PERIOD_S, MIN_PERIOD_S, Config
from netlog.endpoints import MAX_PORT
from netlog.errors import ConfigError
from netlog.gateway import peers_of, router_of
from netlog.node_file import NodeFile
from netlog.routes import RouterConfig
from netlog.sources import WireGuardSource
from netlog.watch import SockPoint, WatchSettings

__all__ = ["add_options", "settings_of"]

MAX_THREADS = 16
"""Of a tap; each has a ring of 16 MiB."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the command's parser."""
    parser.add_argument(
        "--tun", metavar="IFACE", type=_interface, help="the interface with the virtual traffic"
    )
    parser.add_argument(
        "--sock",
        metavar="PORT[@IFACE]",
        type=_sock,
        action="append",
        default=[],
        help="a local UDP port that carries it, on an interface or on all; may be repeated",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output", metavar="FILE", default="-", help="JSON lines go here; -: standard output"
    )
    where.add_argument(
        "--config",
        metavar="FILE",
        help="the TOML file of a gateway: its node, routes, peers, nodes, sinks, period and exit "
        "traffic hold, and its tun.name and sock.listen where options do not say otherwise",
    )
    parser.add_argument("--node-id", metavar="ID", type=_text, help="default: the host's name")
    parser.add_argument(
        "--route",
        metavar="PREFIX",
        type=_prefix,
        action="append",
        default=[],
        help="a prefix that is reached through the tunnel; may be repeated",
    )
    parser.add_argument(
        "--poll-period", metavar="S", type=_period, help="seconds between messages; default: 5"
    )
    parser.add_argument(
        "--wireguard",
        metavar="IFACE",
        type=_interface,
        help="learn peers and routes from this WireGuard interface in user space",
    )
    parser.add_argument(
        "--threads", metavar="N", type=_threads, default=1, help="of each tap; default: 1"
    )


def settings_of(options: argparse.Namespace, config: Config | None) -> WatchSettings:
    """The options, and what a configuration says where they do not.

    Args:
        options: as parsed; `parser` is the command's own.
        config: what `--config` names, or None.

    Raises:
        ConfigError: the configuration asks for what a watch has not.
        SystemExit: neither says what to watch: wrong usage.

    Thread safety: any thread.
    """
    if options.tun is None and config is None:
        options.parser.error("--tun is needed, or a configuration that names it")
    common: dict[str, Any] = {
        "tun": options.tun or (config and config.tun.name),
        "socks": tuple(dict.fromkeys(options.sock)),
        "threads": options.threads,
    }
    if options.wireguard:
        common["source"] = WireGuardSource(options.wireguard)
        common["source_name"] = f"wireguard {options.wireguard}"
    if config is None:
        return WatchSettings(
            node_id=options.node_id or socket.gethostname(),
            routes=RouterConfig(routes=options.route),
            poll_period_s=options.poll_period or 5.0,
            **common,
        )
    if config.meter is not None:
        raise ConfigError(f"{options.config}: meter: a watch has no meter in a file")
    routes = router_of(config)
    common["socks"] = common["socks"] or (SockPoint(config.sock.listen.port),)
    return WatchSettings(
        node_id=options.node_id or config.node.id,
        routes=RouterConfig(
            routes.local_addrs, (*routes.routes, *options.route), routes.subnet_routes
        ),
        peers=peers_of(config),
        nodes=None if config.nodes is None else NodeFile(config.nodes.file),
        exit_traffic=config.exit_traffic,
        poll_period_s=options.poll_period or config.poll_period_s,
        max_bytes=config.max_message_bytes,
        max_flows=config.max_flows,
        **common,
    )


# -- values --------------------------------------------------------------------------------------


def _checked(kind: type, text: str) -> Any:  # noqa: ANN401 - of the kind that was asked for
    try:
        return decode(kind, text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interface(text: str) -> str:
    return str(_checked(InterfaceName, text))


def _prefix(text: str) -> str:
    return str(_checked(Prefix, text))


def _text(text: str) -> str:
    return str(_checked(Text, text))


def _sock(text: str) -> SockPoint:
    port, at, interface = text.partition("@")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"expected a port of 1 to {MAX_PORT}, got {port!r}")
    return SockPoint(int(port), _interface(interface) if at else "")


def _period(text: str) -> float:
    try:
        period_s = float(text)
    except ValueError:
        period_s = 0.0
    if not MIN_PERIOD_S <= period_s <= MAX_PERIOD_S:
        raise argparse.ArgumentTypeError(
            f"expected {MIN_PERIOD_S:g} to {MAX_PERIOD_S:g} seconds, got {text}"
        )
    return period_s


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_THREADS):
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_THREADS}, got {text}")
    return int(text)
