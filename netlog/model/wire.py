"""Text and nodes as messages have them. Readers of messages need this much, and start sooner."""

import re

import msgspec

__all__ = ["WireNode", "well_formed"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Replace what UTF-8 can not say: each lone surrogate becomes U+FFFD.

    Such text stands for bytes from outside that were no UTF-8 (PEP 383).
    """
    return _SURROGATE.sub("\ufffd", str(text))


class WireNode(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True):
    """A node as a message of any writer describes it: nothing is checked.

    Members that are absent or null are empty.
    """

    node_id: str = ""
    name: str | None = ""
    addresses: list[str] | None = None
    os: str | None = ""
    user: str | None = ""
    tags: list[str] | None = None
