"""Text and nodes as messages have them. Readers of messages need this much, and start sooner."""

import re

import msgspec

__all__ = ["WireNode", "well_formed"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Replace each lone surrogate, which UTF-8 cannot encode, with U+FFFD.

    Lone surrogates stand for bytes from outside that were not UTF-8 (PEP 383).
    """
    return _SURROGATE.sub("\ufffd", str(text))


class WireNode(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """A node in a message of any writer; its values are not checked.

    Absent members, and members that are null, are empty.
    """

    node_id: str = ""
    name: str | None = ""
    addresses: list[str] | None = None
    os: str | None = ""
    user: str | None = ""
    tags: list[str] | None = None
