"""The options that all commands share that meter another program's gateway."""

import argparse
from typing import Any

from netlog.config.sources import source_table

__all__ = ["add_external_options", "external_changes"]


def add_external_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command's parser. Reading the configuration checks their values."""
    add = parser.add_argument
    add(
        "--node-id",
        metavar="ID",
        help="this node's id in the messages (default: the source's id for it, or the host name)",
    )
    add(
        "--route",
        metavar="PREFIX",
        action="append",
        default=[],
        help="a prefix that is reached through the tunnel; may be repeated",
    )
    add(
        "--source",
        metavar="KIND[:WHERE]",
        type=_source,
        help="where to get peers, names and routes: wireguard:IFACE, "
        "openvpn:MANAGEMENT-OR-STATUS, tailscale[:SOCKET]",
    )
    add("--poll-period", metavar="S", type=float, help="seconds between messages (default: 5)")


def external_changes(options: argparse.Namespace) -> dict[str, Any]:
    """The options as the keys of a configuration.

    Args:
        options: the parsed options. `output` is a path; None and - are standard output.

    Returns:
        The `changes` of `netlog.config.file.load_config`.

    Thread safety: any thread.
    """
    changes: dict[str, Any] = {}
    if options.node_id is not None:
        changes["node"] = {"id": options.node_id}
    if options.route:
        changes["routes"] = {"overlay": options.route}
    if options.source is not None:
        changes["source"] = options.source
    if options.poll_period is not None:
        changes["poll_period_s"] = options.poll_period
    if options.output not in (None, "-"):
        changes["sinks"] = [{"type": "file", "path": options.output}]
    return changes


def _source(text: str) -> Any:  # noqa: ANN401 - a table as TOML has it
    try:
        return source_table(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
