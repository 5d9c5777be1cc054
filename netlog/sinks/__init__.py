"""Where messages go: one JSON object a line, to a stream or a file, or to several of them."""

from netlog.sinks.base import DurableSink, PeriodId, Reports, Sink, SinkCounters
from netlog.sinks.file import FileSink
from netlog.sinks.group import SinkGroup
from netlog.sinks.queued import QueuedSink
from netlog.sinks.rotation import Rotation
from netlog.sinks.stream import StreamSink

__all__ = [
    "DurableSink",
    "FileSink",
    "PeriodId",
    "QueuedSink",
    "Reports",
    "Rotation",
    "Sink",
    "SinkCounters",
    "SinkGroup",
    "StreamSink",
]
