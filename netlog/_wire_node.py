"""A node as a message of any writer describes it: nothing of it is checked."""

import msgspec

__all__ = ["WireNode"]


class WireNode(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """The members of a node; those that are absent or null are empty."""

    node_id: str = ""
    name: str | None = ""
    addresses: list[str] | None = None
    os: str | None = ""
    user: str | None = ""
    tags: list[str] | None = None
