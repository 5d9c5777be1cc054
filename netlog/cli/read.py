"""`netlog read CAPTURE...`: packet captures as messages."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netlog.capture import ByteSource, CaptureCounters, CaptureError, CaptureReader
from netlog.cli.output import say
from netlog.errors import ConfigError
from netlog.message import EXIT_MODES
from netlog.routes import RouterConfig
from netlog.sinks import StreamSink

if TYPE_CHECKING:
    from netlog.node_file import NodeFile

__all__ = ["add_parser"]

STDIN = "-"
PERIOD_S = 5.0
MAX_PERIOD_S = 86_400.0
"""A day. A longer capture in one message is what a longer period asks for; nobody reads that."""

DESCRIPTION = """\
Read packet captures (pcap, pcapng; raw IP, Ethernet, Linux cooked) and write flow log messages as
JSON lines to standard output, as a gateway that had metered these packets would have. Periods are
cut by the packets' own times and begin with the first packet; captures are read in the order given.
Bytes are those on the wire from the IP header on, also of packets that the snap length cut.
"""

EPILOG = """\
Frames that are no IP packet by their link layer's word (ARP, LLDP) or of another link type are left
out and counted on standard error. Packets whose headers were not captured are counted without
addresses. exit status: 0; 1 if a capture is damaged or truncated (what is before that is written);
2 on wrong usage.
example: netlog read --local 100.64.0.1 --route 100.64.0.0/10 tun0.pcap | netlog fmt
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "read", help="turn packet captures into messages", description=DESCRIPTION, epilog=EPILOG
    )
    add = parser.add_argument
    add("captures", metavar="CAPTURE", nargs="+", help="a pcap or pcapng file; - is standard input")
    add(
        "--local",
        metavar="PREFIX",
        action="append",
        default=[],
        help="addresses of this node's side: a packet from there is tx, else one to there is rx, "
        "else tx. Default: those of --config, or of the own node of --nodes; else what a cooked "
        "capture says; else all is tx",
    )
    add(
        "--route",
        metavar="PREFIX",
        action="append",
        default=[],
        help="a prefix that classifies connections as virtual or subnet traffic, as a route of the "
        "gateway would",
    )
    add(
        "--config",
        metavar="FILE",
        help="a gateway's TOML: node, routes, nodes, period, exit traffic",
    )
    add(
        "--nodes",
        metavar="FILE",
        help="the nodes of the overlay, TOML or JSON, by which connections are classified and "
        "named (default: of --config)",
    )
    add(
        "--node-id",
        metavar="ID",
        help="who reports (default: of --config or --nodes, or the host's name)",
    )
    add(
        "--period",
        metavar="SECONDS",
        type=_period,
        help=f"length of a period (default: of --config, or {PERIOD_S:g})",
    )
    add(
        "--exit-traffic",
        choices=EXIT_MODES,
        help="default: of --config; else anonymize with nodes, aggregate without",
    )
    parser.set_defaults(execute=read)


def _period(text: str) -> float:
    period_s = float(text)
    if not 0.001 <= period_s <= MAX_PERIOD_S:  # noqa: PLR2004 - a millisecond
        raise argparse.ArgumentTypeError(f"expected 0.001 to {MAX_PERIOD_S:g}, got {text}")
    return period_s


def read(options: argparse.Namespace) -> int:
    """Read the captures; a damaged one does not keep the others from being read."""
    try:
        reader = _reader(options)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(error)) from error
    sink = StreamSink(sys.stdout)
    status = 0
    with reader:
        for name in options.captures:
            try:
                with _open(name) as source:
                    for message in reader.read(source, _title(name)):
                        sink.write(message)
            except CaptureError as error:
                say(str(error))
                status = 1
        for message in reader.finish():
            sink.write(message)
        for line in _report(reader.counters()):
            say(line)
    return status


def _reader(options: argparse.Namespace) -> CaptureReader:
    """A reader as the configuration says, and the options in its place."""
    node_id, period_s, exit_traffic = "", PERIOD_S, None
    routes, local, node_file = list(options.route), list(options.local), options.nodes
    if options.config:
        from netlog.config import load_config  # noqa: PLC0415 - its import takes as long as that of all else here

        config = load_config(options.config)
        node_id, period_s = str(config.node.id), config.poll_period_s
        exit_traffic = config.exit_traffic
        node_file = node_file or (config.nodes.file if config.nodes else None)
        # What netlog.gateway.router_of() takes, without the imports of a gateway that runs.
        own = [address.host for address in config.tun.addresses]
        subnets = [str(prefix) for prefix in config.routes.subnets]
        routes += own + subnets
        routes += [str(prefix) for peer in config.peers for prefix in peer.allowed_ips]
        local = local or own + subnets
    nodes = _open_nodes(node_file)
    own_node = nodes.snapshot().self_node if nodes is not None else None
    if own_node is not None:
        node_id, local = node_id or own_node.node_id, local or list(own_node.addresses)
    return CaptureReader(
        node_id=options.node_id or node_id or os.uname().nodename,
        period_s=options.period or period_s,
        local=tuple(local),
        routes=RouterConfig(routes=routes),
        nodes=nodes,
        exit_traffic=options.exit_traffic or exit_traffic,
    )


def _open_nodes(path: str | None) -> "NodeFile | None":
    if path is None:
        return None
    from netlog.node_file import NodeFile  # noqa: PLC0415 - as above

    return NodeFile(path)


@contextlib.contextmanager
def _open(name: str) -> Iterator[ByteSource]:
    # Standard input as its descriptor: nothing of a pipe stays behind in a buffer.
    file = sys.stdin.fileno() if name == STDIN else name
    try:
        source = open(file, "rb", buffering=0, closefd=name != STDIN)  # noqa: SIM115
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror}") from error
    with source:
        yield source


def _title(name: str) -> str:
    return "standard input" if name == STDIN else name


def _report(counters: CaptureCounters) -> Iterator[str]:
    """What a reader of the messages alone would not know."""
    links = ", ".join(map(str, sorted(counters.link_types)))
    for count, what in (
        (counters.snapped, "packets without their headers: counted without addresses"),
        (counters.not_ip, "frames are not IP: left out"),
        (counters.cut, "frames end in their link header: left out"),
        (counters.unknown_link, f"frames of unknown link types ({links}): left out"),
        (counters.services, "packets to the overlay's own services: left out"),
        (counters.late, "packets are older than their period: counted in it"),
    ):
        if count:
            yield f"{count} {what}"
