"""Where messages go: a stream, a file, over the network; to several of them at once."""

from typing import TYPE_CHECKING

from netlog._lazy import lazy_names

if TYPE_CHECKING:
    from netlog.sinks.backoff import Backoff
    from netlog.sinks.base import DurableSink, PeriodId, Reports, Sink, SinkCounters
    from netlog.sinks.file import FileSink
    from netlog.sinks.group import SinkGroup
    from netlog.sinks.queued import QueuedSink
    from netlog.sinks.rotation import Rotation
    from netlog.sinks.shipper import NotTaken, Shipper
    from netlog.sinks.spooled import SpooledSink
    from netlog.sinks.stream import StreamSink
else:  # see netlog/__init__.py
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Backoff": "backoff",
            "DurableSink": "base",
            "FileSink": "file",
            "NotTaken": "shipper",
            "PeriodId": "base",
            "QueuedSink": "queued",
            "Reports": "base",
            "Rotation": "rotation",
            "Shipper": "shipper",
            "Sink": "base",
            "SinkCounters": "base",
            "SinkGroup": "group",
            "SpooledSink": "spooled",
            "StreamSink": "stream",
        },
    )

__all__ = [
    "Backoff",
    "DurableSink",
    "FileSink",
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
]
