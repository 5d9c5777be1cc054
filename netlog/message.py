"""Messages: what one node saw in one period, and their JSON form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np

from netlog._cut import MEMBERS, Section, cut
from netlog._native import lib
from netlog._sections import EXIT_MODES, make_sections
from netlog._wire import read_message
from netlog.classify import DEFAULT_OVERLAY, OverlayRanges, Traffic, classify_flows, route_map
from netlog.flows import FLOW_DTYPE, FlowArray, as_flow_array
from netlog.routes import RouterConfig
from netlog.times import Moment, format_rfc3339, to_ns

__all__ = [
    "EXIT_MODES",
    "MAX_BYTES",
    "Message",
    "build_messages",
    "iter_messages",
    "smallest_max_bytes",
]

MAX_BYTES = 256 * 1024
"""Of a message. Source: maxLogSize of Tailscale's wgengine/netlog."""


@dataclass(frozen=True, slots=True)
class _Period:
    node_id: str
    start_ns: int
    end_ns: int

    def header(self) -> bytes:
        """A message's text from the brace to the last member before the arrays."""
        # A subclass of str is text too, but not to the encoder.
        node_id = msgspec.json.encode(str(self.node_id)).decode()
        start, end = format_rfc3339(self.start_ns), format_rfc3339(self.end_ns)
        return f'{{"nodeId":{node_id},"start":"{start}","end":"{end}"'.encode()

    @classmethod
    def checked(cls, node_id: str, start: Moment, end: Moment) -> Self:
        """Make a period of what a caller passed."""
        if not isinstance(node_id, str):
            raise TypeError(f"node_id: expected text, not {node_id!r}")
        period = cls(node_id, to_ns(start, "start"), to_ns(end, "end"))
        if period.end_ns < period.start_ns:
            raise ValueError(f"the end {end} is before the start {start}")
        period.header()  # raises if a name or a time can not be written
        return period


class Message:
    """What one node saw in one period, or a part of it; read-only.

    Args:
        node_id: who reports.
        start_ns: the period's first nanosecond, since the epoch.
        end_ns: its last one.
        virtual_traffic: FLOW_DTYPE, shape (n,), in the order in which it is shown; copied. None
            is empty, here and below.
        subnet_traffic: as above.
        exit_traffic: as above.
        physical_traffic: as above.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the end is before the start, a time is out of range, or an array has not one
            dimension.

    Thread safety: any thread.
    Source: types/netlogtype of Tailscale.
    """

    __slots__ = ("_json", "_period", "_traffic")

    def __init__(  # noqa: PLR0913 - the members of a message
        self,
        node_id: str,
        start_ns: int,
        end_ns: int,
        *,
        virtual_traffic: FlowArray | None = None,
        subnet_traffic: FlowArray | None = None,
        exit_traffic: FlowArray | None = None,
        physical_traffic: FlowArray | None = None,
    ) -> None:
        traffic = {
            Traffic.VIRTUAL: virtual_traffic,
            Traffic.SUBNET: subnet_traffic,
            Traffic.EXIT: exit_traffic,
            Traffic.PHYSICAL: physical_traffic,
        }
        self._period = _Period.checked(node_id, start_ns, end_ns)
        self._json: bytes | None = None
        self._traffic = {
            kind: _freeze(as_flow_array(rows, MEMBERS[kind]).copy())
            for kind, rows in traffic.items()
        }

    @classmethod
    def _built(cls, period: _Period, text: bytes | None, traffic: dict[Traffic, FlowArray]) -> Self:
        """Make a message of checked parts, with its text if that is known; nothing is copied."""
        message = cls.__new__(cls)
        message._period = period  # noqa: SLF001 - its own
        message._json = text  # noqa: SLF001 - its own
        message._traffic = {kind: _freeze(rows) for kind, rows in traffic.items()}  # noqa: SLF001
        return message

    @property
    def node_id(self) -> str:
        """Who reports."""
        return self._period.node_id

    @property
    def start_ns(self) -> int:
        """The period's first nanosecond, since the epoch."""
        return self._period.start_ns

    @property
    def end_ns(self) -> int:
        """The period's last nanosecond, since the epoch."""
        return self._period.end_ns

    @property
    def virtual_traffic(self) -> FlowArray:
        """Connections between overlay addresses; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.VIRTUAL, _NO_FLOWS)

    @property
    def subnet_traffic(self) -> FlowArray:
        """Connections with an address behind a subnet router; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.SUBNET, _NO_FLOWS)

    @property
    def exit_traffic(self) -> FlowArray:
        """All other connections in the tunnel; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.EXIT, _NO_FLOWS)

    @property
    def physical_traffic(self) -> FlowArray:
        """The datagrams that carried the tunnel; FLOW_DTYPE, shape (n,), read-only."""
        return self._traffic.get(Traffic.PHYSICAL, _NO_FLOWS)

    @property
    def packets(self) -> int:
        """Packets of all entries, both ways."""
        return self._sum("tx_packets") + self._sum("rx_packets")

    @property
    def n_bytes(self) -> int:
        """Bytes of all entries, both ways."""
        return self._sum("tx_bytes") + self._sum("rx_bytes")

    def _sum(self, counter: str) -> int:
        return sum(int(rows[counter].sum(dtype=np.uint64)) for rows in self._traffic.values())

    def to_json(self) -> bytes:
        """Write the message as one JSON object.

        Returns:
            UTF-8 without insignificant white space; members that are zero or empty are left out.
        """
        if self._json is None:
            header = self._period.header()
            sections = [
                Section(kind, rows, np.arange(len(rows), dtype=np.uint32))
                for kind, rows in self._traffic.items()
            ]
            unlimited = 1 << 62
            self._json = next((text for text, _ in cut(header, sections, unlimited)), header + b"}")
        return self._json

    @classmethod
    def from_json(cls, data: bytes | bytearray | str) -> Self:
        """Read a message.

        Args:
            data: one JSON object. Addresses may be absent or ""; unknown members are ignored.

        Returns:
            The message, with its entries in the order given.

        Raises:
            ValueError: it is no such object.

        Thread safety: any thread.
        """
        wire = read_message(data)
        period = _Period(wire.node_id, wire.start_ns, wire.end_ns)
        return cls._built(period, None, wire.traffic)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same text."""
        if not isinstance(other, Message):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self._period)

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{len(rows)} {kind.name.lower()}" for kind, rows in self._traffic.items()
        )
        return f"<Message {self.node_id!r} {format_rfc3339(self.start_ns)}: {sizes or 'empty'}>"


def smallest_max_bytes(node_id: str) -> int:
    """How many bytes a message of this node must be allowed for any entry to fit.

    Args:
        node_id: who reports.

    Returns:
        The least `max_bytes` with which no traffic makes `iter_messages` raise.
    """
    longest_ns = to_ns("9999-12-31T23:59:59.999999999Z", "end")
    header = _Period(node_id, longest_ns, longest_ns).header()
    section = max(map(len, MEMBERS.values())) + len(',"":[]}')
    entry: int = lib.netlog_encode_max_entry_bytes - len(",")
    return len(header) + section + entry


def build_messages(  # noqa: PLR0913 - what a period consists of
    *,
    node_id: str,
    start: Moment,
    end: Moment,
    tun: FlowArray | None,
    sock: FlowArray | None,
    routes: RouterConfig | Iterable[RouterConfig],
    exit_traffic: str = "aggregate",
    max_bytes: int = MAX_BYTES,
    overlay: OverlayRanges = DEFAULT_OVERLAY,
) -> list[Message]:
    """Make the messages of one period; `iter_messages` as a list."""
    return list(
        iter_messages(
            node_id=node_id,
            start=start,
            end=end,
            tun=tun,
            sock=sock,
            routes=routes,
            exit_traffic=exit_traffic,
            max_bytes=max_bytes,
            overlay=overlay,
        )
    )


def iter_messages(  # noqa: PLR0913 - what a period consists of
    *,
    node_id: str,
    start: Moment,
    end: Moment,
    tun: FlowArray | None,
    sock: FlowArray | None,
    routes: RouterConfig | Iterable[RouterConfig],
    exit_traffic: str = "aggregate",
    max_bytes: int = MAX_BYTES,
    overlay: OverlayRanges = DEFAULT_OVERLAY,
) -> Iterator[Message]:
    """Make the messages of one period, one after the other.

    Args:
        node_id: who reports.
        start: the period's first nanosecond: nanoseconds since the epoch, RFC 3339 text, or a
            datetime that knows its zone.
        end: its last one.
        tun: the connections inside the tunnel, FLOW_DTYPE, shape (n,), each once. None: none.
        sock: the datagrams that carried it, likewise, with the peers' addresses filled in.
        routes: what the router was told; if that changed in the period, all of it.
        exit_traffic: `aggregate`: exit traffic is one entry that has only counts, each at most
            2^64-1. `log`: it is shown in full. `drop`: it is not shown.
        max_bytes: of a message. What does not fit comes in further messages of the same period.
            `smallest_max_bytes` is always enough.
        overlay: where overlay addresses are.

    Returns:
        An iterator over the messages; none if there was no traffic. The rows are not changed; they
        must stay as they are until the iterator is exhausted.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: `exit_traffic` is no mode, the end is before the start, a time is out of range;
            or, while iterating, `max_bytes` is too small for an entry.

    Thread safety: any thread; an iterator belongs to one.
    Source: wgengine/netlog of Tailscale; RFC 3339.
    """
    if exit_traffic not in EXIT_MODES:
        raise ValueError(f"exit_traffic {exit_traffic!r}: expected one of {', '.join(EXIT_MODES)}")
    period = _Period.checked(node_id, start, end)
    tun, sock = as_flow_array(tun, "tun"), as_flow_array(sock, "sock")
    configs = (routes,) if isinstance(routes, RouterConfig) else tuple(routes)
    if not all(isinstance(config, RouterConfig) for config in configs):
        raise TypeError("routes: expected a RouterConfig or several")
    if max_bytes < 1:
        raise ValueError(f"max_bytes {max_bytes}: expected at least 1")

    def generate() -> Iterator[Message]:
        with route_map(configs, overlay) as prefix_map:
            inside = classify_flows(tun, prefix_map)
        outside = classify_flows(sock, None)
        sections = make_sections(inside, outside, exit_traffic)
        for text, pieces in cut(period.header(), sections, max_bytes):
            rows = {piece.traffic: piece.gather() for piece in pieces}
            yield Message._built(period, text, rows)  # noqa: SLF001 - the same module

    return generate()


def _freeze(rows: FlowArray) -> FlowArray:
    rows.flags.writeable = False
    return rows


_NO_FLOWS = _freeze(np.empty(0, FLOW_DTYPE))
