"""`netlog read CAPTURE...`: turns packet captures into messages."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netlog.capture import LARGE_BYTES, CaptureCounters, CaptureError, CaptureReader
from netlog.cli.capture_input import STDIN, open_source
from netlog.cli.commands import add_command
from netlog.cli.diagnostics import say
from netlog.cli.progress import ReadingBar
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
"""A day. A longer period would only put a longer capture into one message, which nobody can use."""

DESCRIPTION = """\
Read packet captures, and write the flow log messages that a gateway would have
written for these packets, as JSON lines to standard output. netlog reads pcap and
pcapng files, also as gzip or zstd, with raw IP, Ethernet, Linux cooked, 802.11 and
many other link types.

The packets' timestamps divide the capture into periods; the first period begins with
the first packet. Bytes are those on the wire from the IP header on, even if the snap
length cut the packet off.

Several captures are read one after the other, in the order given, as if they were
one: a period continues from the end of one capture into the next. They are not
merged. A packet that is older than the current period counts in the current period,
and netlog reports at the end how many there were. Merge captures of the same time
first: mergecap -w - a.pcap b.pcap | netlog read -
"""

EPILOG = """\
Frames that are not IP (ARP, LLDP), and frames of an unknown link type, are left out;
netlog reports their number on standard error. Packets whose headers were not captured
are counted without addresses.

After SIGINT or SIGTERM, netlog writes the messages of everything that it has read. It
continues to read a pipe for at most one second. A second signal ends it immediately.

exit status: 0 if everything was read, or if a signal ended the reading of a pipe;
1 if a capture is damaged or truncated (everything before that point is written);
2 on wrong usage; 128 + the signal's number if captures remain unread.
example: netlog read --local 100.64.0.1 --route 100.64.0.0/10 tun0.pcap | netlog fmt
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "read", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("captures", metavar="CAPTURE", nargs="+", help="pcap or pcapng file; - is standard input")
    add(
        "--local",
        metavar="PREFIX",
        action="append",
        default=[],
        help="prefix of this node's side: a packet from it is tx, otherwise a packet to it is rx, "
        "every other packet is tx; may be repeated (default: the prefixes of --config, or the "
        "addresses of `self` in --nodes; without either, a cooked capture gives the direction, and "
        "packets of other captures are tx)",
    )
    add(
        "--route",
        metavar="PREFIX",
        action="append",
        default=[],
        help="prefix whose connections are virtual or subnet traffic, like a route of the gateway; "
        "may be repeated",
    )
    add(
        "--config",
        metavar="FILE",
        help="a gateway's TOML file, for its node, routes, period and exit traffic",
    )
    add(
        "--nodes",
        metavar="FILE",
        help="TOML or JSON file with the overlay's nodes (see netlog.NodeFile); connections are "
        "classified by them, and messages name them",
    )
    add(
        "--node-id",
        metavar="ID",
        help="the node that reports (default: that of --config or --nodes, or the host name)",
    )
    add(
        "--period",
        metavar="SECONDS",
        type=_period,
        help=f"length of a period (default: that of --config, or {PERIOD_S:g})",
    )
    add(
        "--exit-traffic",
        choices=EXIT_MODES,
        help="how exit traffic is shown (default: as in --config; without that, anonymize with "
        "--nodes and aggregate otherwise)",
    )
    parser.set_defaults(execute=read)


def _period(text: str) -> float:
    period_s = float(text)
    if not 0.001 <= period_s <= MAX_PERIOD_S:  # noqa: PLR2004 - a millisecond
        raise argparse.ArgumentTypeError(f"expected 0.001 to {MAX_PERIOD_S:g} seconds, got {text}")
    return period_s


def read(options: argparse.Namespace) -> int:
    """Read the captures; after a damaged one, the others are still read."""
    try:
        reader = _reader(options)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(error)) from error
    with reader, StopRequest() as stop:
        with ReadingBar(options.captures) as bar:
            status = _read_all(options.captures, reader, stop, bar)
        for line in _report(reader.counters()):
            say(line)
    return status


def _read_all(names: list[str], reader: CaptureReader, stop: StopRequest, bar: ReadingBar) -> int:
    """Write the messages of all captures, and return the exit status."""
    sink = StreamSink(sys.stdout)
    status = 0
    for name in names:
        complete = False
        try:
            with open_source(name, stop, bar.advance) as source:
                try:
                    for message in reader.read(source, _title(name)):
                        sink.write(message)
                except CaptureError:
                    # After a stop, the capture may end in the middle of a record.
                    if not source.stopped:
                        raise
                # A live capture is complete when it is stopped: it has no other end.
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
    """A reader with the settings of the configuration; options override them."""
    node_id, period_s, exit_traffic = "", PERIOD_S, None
    routes, local, node_file = list(options.route), list(options.local), options.nodes
    # Modules with a TOML parser are imported only if needed: they take as long as all others here.
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
    """The configuration of the only gateway in a file."""
    from netlog.config.file import load_gateways  # noqa: PLC0415 - see above

    placed = load_gateways(path)
    if len(placed) > 1:
        raise ConfigError(f"{path}: gateways: expected one gateway, got {len(placed)}")
    return placed[0].config


def _open_nodes(path: str | None) -> "NodeFile | None":
    if path is None:
        return None
    from netlog.config.node_file import NodeFile  # noqa: PLC0415 - as above

    return NodeFile(path)


def _title(name: str) -> str:
    return "standard input" if name == STDIN else name


def _report(counters: CaptureCounters) -> Iterator[str]:
    """Lines about what the messages alone do not show."""
    links = ", ".join(name for _, name in sorted(counters.link_types.items()))
    kinds = sorted(counters.kinds.items(), key=lambda kind: -kind[1])
    left_out = ", ".join(f"{count} {name}" for name, count in kinds)
    for count, what in (
        (counters.snapped, "packets without complete headers: counted without addresses"),
        (counters.malformed, "malformed packets: counted without addresses"),
        (counters.no_version, "packets that are neither IPv4 nor IPv6: counted without addresses"),
        (
            counters.large,
            f"packets longer than {LARGE_BYTES} bytes (host with offloads): each counts as one",
        ),
        (counters.not_ip, f"frames that are not IP ({left_out}): left out"),
        (counters.cut, "frames without a complete link-layer header: left out"),
        (counters.unknown_link, f"frames of unknown link types ({links}): left out"),
        (counters.services, "packets to the overlay's own services: left out"),
        (counters.late, "packets older than the current period: counted in the current period"),
        (counters.untimed, "packets with an impossible time: counted with the packet before"),
    ):
        if count == 1:
            yield f"1 {_of_one(what)}"
        elif count:
            yield f"{count} {what}"


def _of_one(what: str) -> str:
    for many, one in (("packets", "packet"), ("frames", "frame"), (" that are ", " that is ")):
        what = what.replace(many, one, 1)
    return what
