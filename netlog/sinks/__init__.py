"""Where messages go: a stream, a file, over the network; to several of them at once.

The shippers over HTTP need urllib3, which is imported with the first of them that is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from netlog.sinks.backoff import Backoff
from netlog.sinks.base import DurableSink, PeriodId, Reports, Sink, SinkCounters
from netlog.sinks.file import FileSink
from netlog.sinks.group import SinkGroup
from netlog.sinks.log_ids import new_private_id, public_id
from netlog.sinks.queued import QueuedSink
from netlog.sinks.rotation import Rotation
from netlog.sinks.shipper import NotTaken, Shipper
from netlog.sinks.spooled import SpooledSink
from netlog.sinks.stream import StreamSink

if TYPE_CHECKING:
    from netlog.sinks.hec import HecShipper
    from netlog.sinks.http import Timeouts
    from netlog.sinks.http_json import HttpJsonShipper
    from netlog.sinks.logtail import LogtailShipper

__all__ = [
    "Backoff",
    "DurableSink",
    "FileSink",
    "HecShipper",
    "HttpJsonShipper",
    "LogtailShipper",
    "NotTaken",
    "PeriodId",
    "QueuedSink",
    "Reports",
    "Rotation",
    "Shipper",
    "Sink",
    "SinkCounters",
    "SinkGroup",
    "SpooledSink",
    "StreamSink",
    "Timeouts",
    "new_private_id",
    "public_id",
]

_LAZY = {
    "HecShipper": "netlog.sinks.hec",
    "HttpJsonShipper": "netlog.sinks.http_json",
    "LogtailShipper": "netlog.sinks.logtail",
    "Timeouts": "netlog.sinks.http",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as the language has it
    """Import what needs urllib3 when it is asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
