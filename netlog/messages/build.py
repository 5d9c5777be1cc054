"""Makes the messages of a period: what they show, and how it is split into messages."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from netlog.messages.classify import (
    DEFAULT_OVERLAY,
    NODE_RULE,
    SEED_RULE,
    OverlayRanges,
    PrefixMap,
    classify_flows,
    node_map,
    route_map,
)
from netlog.messages.header import (
    DST_NODES,
    MAX_BYTES,
    MOST_NODE_BYTES,
    MessageHeader,
    least_bytes,
    src_node_text,
)
from netlog.messages.message import Message
from netlog.messages.named_nodes import NamedNodes
from netlog.messages.node_numbers import NodeNumbers
from netlog.messages.sections import EXIT_MODES, ClassifiedTun, ExitTraffic, LeftOut, make_sections
from netlog.messages.split import split_messages
from netlog.model.flows import NO_FLOWS, FlowArray, as_flow_array
from netlog.model.nodes import NodeMap, NodeSource, StaticNodes
from netlog.model.routes import RouterConfig
from netlog.model.rows import Rows, Slice
from netlog.model.times import Moment

__all__ = [
    "EXIT_MODES",
    "MAX_BYTES",
    "LeftOut",
    "Message",
    "Nodes",
    "build_messages",
    "iter_messages",
    "smallest_max_bytes",
]

Nodes: TypeAlias = NodeSource | NodeMap | Iterable[NodeMap]
"""A source, which is asked once; a map; or all maps that applied in a period, oldest first."""


def smallest_max_bytes(node_id: str, nodes: Nodes | None = None) -> int:
    """The smallest `max_bytes` with which every entry of this node fits into a message.

    Args:
        node_id: the node that reports.
        nodes: as for `iter_messages`. A source other than `StaticNodes` may know other nodes later,
            so each of its nodes is taken to have MAX_NODE_BYTES.

    Returns:
        A `max_bytes` with which no traffic makes `iter_messages` raise. It adds the longest entry
        and the longest nodes, although these may not occur together.
    """
    return least_bytes(node_id) + _most_node_bytes(nodes)


def _most_node_bytes(nodes: Nodes | None) -> int:
    """The bytes of the node that reports and of the two longest nodes in an entry."""
    if nodes is None:
        return 0
    if isinstance(nodes, NodeSource) and not isinstance(nodes, StaticNodes):
        return MOST_NODE_BYTES
    if (known := _node_map(nodes)) is None:
        return 0
    src = len(src_node_text(known.self_node))
    others: list[int] = sorted(NodeNumbers.of(known).n_bytes[1:].tolist())[-2:]
    return src + (len(DST_NODES) if others else 0) + sum(n_bytes + len(",") for n_bytes in others)


def build_messages(  # noqa: PLR0913 - what a period consists of
    *,
    node_id: str,
    start: Moment,
    end: Moment,
    tun: FlowArray | None,
    sock: FlowArray | None,
    routes: RouterConfig | Iterable[RouterConfig],
    nodes: Nodes | None = None,
    exit_traffic: str | None = None,
    max_bytes: int = MAX_BYTES,
    overlay: OverlayRanges = DEFAULT_OVERLAY,
    left_out: LeftOut | None = None,
) -> list[Message]:
    """Make the messages of one period: `iter_messages` as a list."""
    return list(
        iter_messages(
            node_id=node_id,
            start=start,
            end=end,
            tun=tun,
            sock=sock,
            routes=routes,
            nodes=nodes,
            exit_traffic=exit_traffic,
            max_bytes=max_bytes,
            overlay=overlay,
            left_out=left_out,
        )
    )


def iter_messages(  # noqa: PLR0913 - what a period consists of
    *,
    node_id: str,
    start: Moment,
    end: Moment,
    tun: FlowArray | Rows | None,
    sock: FlowArray | Rows | None,
    routes: RouterConfig | Iterable[RouterConfig],
    nodes: Nodes | None = None,
    exit_traffic: str | None = None,
    max_bytes: int = MAX_BYTES,
    overlay: OverlayRanges = DEFAULT_OVERLAY,
    left_out: LeftOut | None = None,
) -> Iterator[Message]:
    """Make the messages of one period, one after the other.

    Args:
        node_id: the node that reports; lone surrogates become U+FFFD.
        start: the period's first nanosecond: nanoseconds since the epoch, RFC 3339 text, or a
            datetime with a time zone.
        end: the period's last nanosecond, in the same forms.
        tun: the connections inside the tunnel, FLOW_DTYPE, shape (n,), each once. None: no rows.
            Each slice of `Rows` becomes messages of its own, whose entries are sorted.
        sock: the datagrams that carried the tunnel, in the same forms, with the peers' addresses as
            sources.
        routes: the configuration of the router; if it changed in the period, all configurations.
        nodes: the nodes by address. With nodes, connections are classified by `NODE_RULE`, each
            message names the nodes whose addresses are in its entries, and traffic to the overlay's
            own services is left out. None: connections are classified by `SEED_RULE`.
        exit_traffic: how exit traffic is shown.
            `aggregate`: as one entry that has only counts, each at most 2^64-1.
            `anonymize`: as one entry for each node's address, or without nodes for each overlay
            address in a route; protocol, ports and foreign addresses are removed.
            `log`: in full.
            `drop`: not at all.
            None: `anonymize` with nodes, otherwise `aggregate`.
        max_bytes: the greatest size of a message. More traffic makes more messages of the same
            period. `smallest_max_bytes` is always enough.
        overlay: the addresses of the overlay and of its services.
        left_out: traffic that no message shows is added to it, when the first message is requested.

    Returns:
        An iterator over the messages; empty if there was no traffic. The rows are not changed. They
        must not change until the iterator is exhausted.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `exit_traffic` is not a mode, the end is before the start, or a time is out of
            range; while iterating: `max_bytes` is too small for an entry.

    Thread safety: any thread; an iterator belongs to one thread.
    Source: wgengine/netlog of Tailscale; RFC 3339.
    """
    known = None if nodes is None else _node_map(nodes)
    mode = exit_traffic or ("aggregate" if known is None else "anonymize")
    if exit_traffic == "" or mode not in EXIT_MODES:
        raise ValueError(f"exit_traffic {exit_traffic!r}: expected one of {', '.join(EXIT_MODES)}")
    period = MessageHeader.checked(node_id, start, end)
    configs = (routes,) if isinstance(routes, RouterConfig) else tuple(routes)
    if not all(isinstance(config, RouterConfig) for config in configs):
        raise TypeError("routes: expected a RouterConfig or several")
    if max_bytes < 1:
        raise ValueError(f"max_bytes {max_bytes}: expected at least 1")
    slices = _slices(tun, "tun"), _slices(sock, "sock")

    def generate() -> Iterator[Message]:
        rule = SEED_RULE if known is None else NODE_RULE
        src_node = known.self_node if known is not None else None
        named = NamedNodes(NodeNumbers.of(known)) if known is not None else None
        header = period.header() + src_node_text(src_node)
        exits = ExitTraffic(mode)
        with _open_map(configs, known, overlay) as prefix_map:
            for tun_rows, sock_rows, last in _side_by_side(*slices):
                classified = classify_flows(tun_rows, prefix_map, rule)
                inside = ClassifiedTun(classified, prefix_map, by_nodes=known is not None)
                outside = classify_flows(sock_rows, None)
                sections = make_sections(inside, outside, exits, left_out or LeftOut(), last=last)
                for part in split_messages(header, sections, max_bytes, named):
                    yield Message.of_part(period, src_node, part)

    return generate()


def _slices(rows: FlowArray | Rows | None, name: str) -> Iterable[Slice]:
    """The slices of `Rows`. An array of any length is one slice, so all of it is sorted."""
    return rows if isinstance(rows, Rows) else ((as_flow_array(rows, name), True),)


def _side_by_side(
    tun: Iterable[Slice], sock: Iterable[Slice]
) -> Iterator[tuple[FlowArray, FlowArray, bool]]:
    """Slices of both points, empty after a point's last one, and whether both are the last."""
    rows, last = [NO_FLOWS, NO_FLOWS], [False, False]
    slices = [iter(tun), iter(sock)]
    while not all(last):
        for at in (0, 1):
            rows[at], last[at] = (NO_FLOWS, True) if last[at] else next(slices[at])
        yield rows[0], rows[1], all(last)


def _node_map(nodes: Nodes) -> NodeMap | None:
    """All nodes that were known in the period; None: the source does not know any yet."""
    if isinstance(nodes, NodeSource):
        now = nodes.snapshot()
        if now is None:
            return None
        nodes = now
    maps = (nodes,) if isinstance(nodes, NodeMap) else tuple(nodes)
    if not all(isinstance(one, NodeMap) for one in maps):
        raise TypeError("nodes: expected a NodeSource, a NodeMap or several")
    return NodeMap.merged(maps)


def _open_map(
    configs: Iterable[RouterConfig], known: NodeMap | None, overlay: OverlayRanges
) -> PrefixMap:
    if known is None:
        return route_map(configs, overlay)
    return node_map(configs, NodeNumbers.of(known).prefixes, overlay)
