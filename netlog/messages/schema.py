"""The JSON Schema of the lines that netlog writes, made from the types below.

`schema.json` in this folder is the output of `python -m netlog.messages.schema`. Wheels contain it:

    importlib.resources.files("netlog.messages").joinpath("schema.json").read_text()

The types describe what netlog *writes*. It *reads* more forms: see `Message.from_json`.
"""

import sys
from typing import Annotated, Any

import msgspec

__all__ = ["SCHEMA_ID", "line_schema", "line_schema_text"]

SCHEMA_ID = "urn:netlog:line:1"
"""Identifies the schema. The number changes when the meaning of a member changes."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

MAX_COUNT = 2**64 - 1
"""Too large for msgspec's own bounds, which are signed."""

Moment = Annotated[
    str,
    msgspec.Meta(
        description="RFC 3339 in UTC with up to nine fractional digits; trailing zeros are "
        "trimmed.",
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$",
        examples=["2026-11-30T12:00:05Z"],
    ),
]
End = Annotated[
    str,
    msgspec.Meta(
        description="`a.b.c.d:port` or `[v6]:port` in the form of RFC 5952. Absent: the address "
        "is unknown or removed.",
        pattern=r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]):\d{1,5}$",
        examples=["100.64.0.1:443", "[fd7a:115c:a1e0::1]:443"],
    ),
]
Count = Annotated[
    int, msgspec.Meta(ge=1, description="Absent: 0.", extra_json_schema={"maximum": MAX_COUNT})
]
Total = Annotated[int, msgspec.Meta(ge=0)]


class Entry(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A connection and its counts, written from the side of the node that reports."""

    proto: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=255,
            description="The IANA protocol number. Absent: unknown, removed, or physical traffic.",
        ),
    ] = 0
    src: End = ""
    dst: End = ""
    tx_pkts: Count = 0
    tx_bytes: Count = 0
    rx_pkts: Count = 0
    rx_bytes: Count = 0


class Node(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A node of the overlay, as its source describes it."""

    node_id: Annotated[str, msgspec.Meta(min_length=1, description="Stable: names may change.")]
    name: Annotated[
        str, msgspec.Meta(min_length=1, description="DNS name without a final dot.")
    ] = ""
    addresses: Annotated[
        list[str],
        msgspec.Meta(
            min_length=1,
            max_length=2,
            description="The first IPv4 and the first IPv6 address of the node in the overlay.",
        ),
    ] = []
    os: Annotated[str, msgspec.Meta(min_length=1, description="Operating system.")] = ""
    user: Annotated[str, msgspec.Meta(min_length=1, description="Absent if the node has tags.")] = (
        ""
    )
    tags: Annotated[list[str], msgspec.Meta(min_length=1, description="Sorted.")] = []


class Identity(msgspec.Struct, forbid_unknown_fields=True):
    """Identifies a line that was sent over HTTP, so that a receiver can drop a duplicate."""

    client_time: Annotated[Moment, msgspec.Meta(title="When the line was made.")]
    proc_id: Annotated[int, msgspec.Meta(ge=0, description="Identifies a run of the process.")]
    proc_seq: Annotated[
        int, msgspec.Meta(ge=1, description="Counts the lines of that run. A gap is a loss.")
    ]


Virtual = Annotated[
    list[Entry],
    msgspec.Meta(min_length=1, description="Inside the tunnel, between nodes of the overlay."),
]
Subnet = Annotated[
    list[Entry],
    msgspec.Meta(min_length=1, description="Inside the tunnel, from or to a routed subnet."),
]
Exit = Annotated[
    list[Entry],
    msgspec.Meta(
        min_length=1,
        description="Everything else inside the tunnel, and what has no connection.",
    ),
]
Physical = Annotated[
    list[Entry],
    msgspec.Meta(
        min_length=1,
        description="The datagrams that carried the tunnel. `src` is the peer's overlay address, "
        "`dst` its endpoint.",
    ),
]
SrcNode = Annotated[Node, msgspec.Meta(title="The node that reports, if it is known.")]
Logtail = Annotated[Identity, msgspec.Meta(title="Present in lines that were sent over HTTP.")]


class Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What one node saw in one period, or a part of it. Members that are empty are left out."""

    node_id: Annotated[str, msgspec.Meta(description="The node that reports.")]
    start: Annotated[Moment, msgspec.Meta(title="The first nanosecond of the period.")]
    end: Annotated[Moment, msgspec.Meta(title="The last nanosecond of the period.")]
    src_node: SrcNode | msgspec.UnsetType = msgspec.UNSET
    dst_nodes: Annotated[
        list[Node], msgspec.Meta(min_length=1, description="The other nodes in the entries.")
    ] = []
    virtual_traffic: Virtual = []
    subnet_traffic: Subnet = []
    exit_traffic: Exit = []
    physical_traffic: Physical = []
    logtail: Logtail | msgspec.UnsetType = msgspec.UNSET


class Dropped(msgspec.Struct, forbid_unknown_fields=True):
    """How much a sink dropped. Packets and bytes are sums over all entries of the messages."""

    messages: Total
    packets: Total
    bytes: Total


class Loss(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Reports, in the stream itself, that a sink dropped messages."""

    node_id: Annotated[str, msgspec.Meta(description="The node whose messages they were.")]
    dropped: Dropped
    logtail: Logtail | msgspec.UnsetType = msgspec.UNSET


def line_schema() -> dict[str, Any]:
    """Make the schema of one line.

    Returns:
        JSON Schema, draft 2020-12: a line is a `Message` or a `Loss`.

    Thread safety: any thread.
    """
    kinds, definitions = msgspec.json.schema_components(
        (Message, Loss), ref_template="#/$defs/{name}"
    )
    for definition in definitions.values():
        for member in definition["properties"].values():
            # netlog never writes a default value, so the schema must not offer one.
            member.pop("default", None)
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "A line of a network flow log as netlog writes it",
        "anyOf": list(kinds),
        "$defs": definitions,
    }


def line_schema_text() -> str:
    """The text of `schema.json`."""
    return msgspec.json.format(msgspec.json.encode(line_schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(line_schema_text())
