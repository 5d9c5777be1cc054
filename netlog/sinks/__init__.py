"""Where messages go: a stream, a file, over the network; to several of them at once.

The shippers over HTTP need urllib3, which is imported with the first of them that is used.
"""

from typing import TYPE_CHECKING

from netlog._lazy import lazy_names

if TYPE_CHECKING:
    from netlog.sinks.backoff import Backoff
    from netlog.sinks.base import DurableSink, PeriodId, Reports, Sink, SinkCounters
    from netlog.sinks.file import FileSink
    from netlog.sinks.file_shipper import FileShipper
    from netlog.sinks.group import SinkGroup
    from netlog.sinks.hec import HecShipper
    from netlog.sinks.http import Timeouts
    from netlog.sinks.http_json import HttpJsonShipper
    from netlog.sinks.log_ids import new_private_id, public_id
    from netlog.sinks.logtail import LogtailShipper
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
            "FileShipper": "file_shipper",
            "FileSink": "file",
            "HecShipper": "hec",
            "HttpJsonShipper": "http_json",
            "LogtailShipper": "logtail",
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
            "Timeouts": "http",
            "new_private_id": "log_ids",
            "public_id": "log_ids",
        },
    )

__all__ = [
    "Backoff",
    "DurableSink",
    "FileShipper",
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
