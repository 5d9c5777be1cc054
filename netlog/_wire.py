"""The JSON form of a message, as it is read."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from netlog.classify import Traffic
from netlog.flows import FlowArray, flow_array
from netlog.times import parse_rfc3339

__all__ = ["WireMessage", "read_message"]


@dataclass(frozen=True, slots=True)
class WireMessage:
    """The members of a message; `traffic` holds the arrays that it has."""

    node_id: str
    start_ns: int
    end_ns: int
    traffic: dict[Traffic, FlowArray]


def read_message(data: bytes | bytearray | str) -> WireMessage:
    """Read a message.

    Args:
        data: one JSON object. Addresses may be absent or ""; unknown members are ignored.

    Returns:
        Its members, entries in the order given.

    Raises:
        ValueError: it is no such object.

    Thread safety: any thread.
    """
    try:
        wire = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no flow log message: {error}") from None
    arrays = {
        Traffic.VIRTUAL: wire.virtual_traffic,
        Traffic.SUBNET: wire.subnet_traffic,
        Traffic.EXIT: wire.exit_traffic,
        Traffic.PHYSICAL: wire.physical_traffic,
    }
    return WireMessage(
        wire.node_id,
        parse_rfc3339(wire.start),
        parse_rfc3339(wire.end),
        {kind: _read_entries(kind, entries) for kind, entries in arrays.items() if entries},
    )


class _Entry(msgspec.Struct, rename="camel", gc=False):
    proto: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    src: str = ""
    dst: str = ""
    tx_pkts: int = 0
    tx_bytes: int = 0
    rx_pkts: int = 0
    rx_bytes: int = 0


class _Wire(msgspec.Struct, rename="camel"):
    start: str
    end: str
    node_id: str = ""  # the seed's messages had none
    virtual_traffic: list[_Entry] | None = None
    subnet_traffic: list[_Entry] | None = None
    exit_traffic: list[_Entry] | None = None
    physical_traffic: list[_Entry] | None = None


_DECODER = msgspec.json.Decoder(_Wire)


def _read_entries(kind: Traffic, entries: list[_Entry]) -> FlowArray:
    try:
        return flow_array(
            (e.proto, e.src, e.dst, e.tx_pkts, e.tx_bytes, e.rx_pkts, e.rx_bytes) for e in entries
        )
    except ValueError as error:
        raise ValueError(f"{kind.name.lower()} traffic, {error}") from None
