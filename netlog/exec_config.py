"""The configuration of a daemon that is metered from inside, as it is."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from netlog._values import Prefix, Text
from netlog.gateway_config import ForeignConfig, foreign_contradictions

__all__ = ["ExecConfig"]

MAX_CHOICES = 64
"""MAX_PORTS and MAX_EXCLUDED of csrc/preload/descriptors.c; the source may need one of these."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ExecConfig(ForeignConfig, frozen=True, forbid_unknown_fields=True, tag="exec", kw_only=True):
    """`exec`: a daemon, as `netlog exec` and `netlog run` start it."""

    command: tuple[Text, ...] = ()
    sock_ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=MAX_CHOICES)] = ()
    sock_exclude: Annotated[tuple[Prefix, ...], msgspec.Meta(max_length=MAX_CHOICES - 1)] = ()

    def contradictions(self) -> Iterator[str]:
        """Keys that are right each, but not together."""
        yield from foreign_contradictions(self)
