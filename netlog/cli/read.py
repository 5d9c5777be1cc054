"""`netlog read CAPTURE...`: packet captures as messages."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netlog.capture import LARGE_BYTES, CaptureCounters, CaptureError, CaptureReader
from netlog.cli.capture_input import STDIN, open_source
from netlog.cli.diagnostics import say
from netlog.cli.waiting import StopRequest
from netlog.errors import ConfigError
from netlog.messages.build import EXIT_MODES
from netlog.model.routes import RouterConfig
from netlog.sinks import StreamSink

if TYPE_CHECKING:
    from netlog.config.file import AnyConfig
    from netlog.config.node_file import NodeFile

__all__ = ["add_parser"]

PERIOD_S = 5.0
MAX_PERIOD_S = 86_400.0
"""A day. A longer capture in one message is what a longer period asks for; nobody reads that."""

DESCRIPTION = """\
Read packet captures (pcap, pcapng, also as gzip or zstd) and write flow log messages as JSON lines
to standard output, as a gateway that had metered these packets would have. Periods are
cut by the packets' own times and begin with the first packet. Bytes are those on the wire from the
IP header on, also of packets that the snap length cut.

Several captures are read one after the other, in the order given, as if they were one: a period
goes on from the end of one to the begin of the next. They are not merged: a packet that is older
than the period that is being read counts in that period, and how many did is said at the end.
Captures of the same time are to be merged before: mergecap -w - a.pcap b.pcap | netlog read -
"""

EPILOG = """\
Frames that are no IP packet by their link layer's word (ARP, LLDP) or of another link type are left
out and counted on standard error. Packets whose headers were not captured are counted without
addresses. SIGINT or SIGTERM: what was read is written, and of a pipe what comes within a second; a
second one ends it at once.

exit status: 0, also of a pipe that was read until a signal; 1 if a capture is damaged or truncated
(what is before that is written); 2 on wrong usage; 128 + signal if captures were left unread.
example: netlog read --local 100.64.0.1 --route 100.64.0.0/10 tun0.pcap | netlog fmt
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "read",
        help="turn packet captures into messages",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    add("--config", metavar="FILE", help="a gateway's TOML: node, routes, period, exit traffic")
    add(
        "--nodes",
        metavar="FILE",
        help="the nodes of the overlay, TOML or JSON (see netlog.NodeFile): classify by them, and "
        "show who they are",
    )
    add(
        "--node-id",
        metavar="ID",
        help="who reports (default: of --config, --nodes, or the host's name)",
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
        help="default: of --config, or anonymize with --nodes, else aggregate",
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
    with reader, StopRequest() as stop:
        status = _read_all(options.captures, reader, stop)
        for line in _report(reader.counters()):
            say(line)
    return status


def _read_all(names: list[str], reader: CaptureReader, stop: StopRequest) -> int:
    """Write the messages of all captures; the exit status."""
    sink = StreamSink(sys.stdout)
    status = 0
    for name in names:
        complete = False
        try:
            with open_source(name, stop) as source:
                try:
                    for message in reader.read(source, _title(name)):
                        sink.write(message)
                except CaptureError:
                    if not source.stopped:  # else it ends where it was left
                        raise
                # What is live has no other end than to be stopped.
                complete = source.live or not source.stopped
        except CaptureError as error:
            say(str(error))
            status = 1
        if stop.signal is not None:
            status = status if complete and name == names[-1] else 128 + stop.signal
            break
    for message in reader.finish():
        sink.write(message)
    return status


def _reader(options: argparse.Namespace) -> CaptureReader:
    """A reader as the configuration says, and the options in its place."""
    node_id, period_s, exit_traffic = "", PERIOD_S, None
    routes, local, node_file = list(options.route), list(options.local), options.nodes
    # What needs a parser of TOML takes as long to import as all else here together.
    if options.config:
        config = _gateway_of(options.config)
        node_id, period_s = str(config.node_id), config.poll_period_s
        exit_traffic = config.exit_traffic
        node_file = node_file or (config.nodes.file if config.nodes else None)
        own = config.own_prefixes()
        routes += own + config.tunnel_prefixes()
        local = local or own
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


def _gateway_of(path: str) -> "AnyConfig":
    """The one gateway of a configuration."""
    from netlog.config.file import load_gateways  # noqa: PLC0415 - see above

    placed = load_gateways(path)
    if len(placed) > 1:
        raise ConfigError(f"{path}: gateways: expected one, a capture is of one")
    return placed[0].config


def _open_nodes(path: str | None) -> "NodeFile | None":
    if path is None:
        return None
    from netlog.config.node_file import NodeFile  # noqa: PLC0415 - as above

    return NodeFile(path)


def _title(name: str) -> str:
    return "standard input" if name == STDIN else name


def _report(counters: CaptureCounters) -> Iterator[str]:
    """What a reader of the messages alone would not know."""
    links = ", ".join(name for _, name in sorted(counters.link_types.items()))
    kinds = sorted(counters.kinds.items(), key=lambda kind: -kind[1])
    left_out = ", ".join(f"{count} {name}" for name, count in kinds)
    for count, what in (
        (counters.snapped, "packets without their headers: counted without addresses"),
        (counters.malformed, "packets are malformed: counted without addresses"),
        (counters.no_version, "packets are neither IPv4 nor IPv6: counted without addresses"),
        (
            counters.large,
            f"packets are longer than {LARGE_BYTES} bytes (offloads): each counts as one",
        ),
        (counters.not_ip, f"frames are not IP ({left_out}): left out"),
        (counters.cut, "frames end in their link header: left out"),
        (counters.unknown_link, f"frames of unknown link types ({links}): left out"),
        (counters.services, "packets to the overlay's own services: left out"),
        (counters.late, "packets are older than their period: counted in it"),
        (counters.untimed, "packets have an impossible time: counted with the packet before"),
    ):
        if count:
            yield f"{count} {what}"
