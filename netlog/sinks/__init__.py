"""Where messages go: one JSON object a line, to a stream or a file, or to several of them."""

from netlog.sinks.base import Sink
from netlog.sinks.file import FileSink
from netlog.sinks.group import SinkCounters, SinkGroup
from netlog.sinks.stream import StreamSink

__all__ = ["FileSink", "Sink", "SinkCounters", "SinkGroup", "StreamSink"]
