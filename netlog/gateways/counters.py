"""The counters of each kind of gateway.

This module imports none of what is counted. So a process that prints the counters of a watch does
not load a relay.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from netlog.devices.tap import TapCounters
    from netlog.logger.logger import LoggerCounters
    from netlog.preload.meter import Aside
    from netlog.relay.relay import RelayCounters

__all__ = ["AnyCounters", "ExecCounters", "GatewayCounters", "WatchCounters"]


@dataclass(frozen=True, slots=True)
class GatewayCounters:
    """The counters of a gateway with a relay."""

    relay: "RelayCounters"
    logger: "LoggerCounters"


@dataclass(frozen=True, slots=True)
class WatchCounters:
    """The counters of a watch.

    Attributes:
        taps: those of each tap, by its name.
        logger: those of the logger.
        source_errors: how often the source did not answer.
    """

    taps: dict[str, "TapCounters"]
    logger: "LoggerCounters"
    source_errors: int = 0


@dataclass(frozen=True, slots=True)
class ExecCounters:
    """The counters of a daemon's metering.

    Attributes:
        logger: those of the logger.
        aside: what the daemon's processes report outside the messages.
        source_errors: how often the source did not answer.
    """

    logger: "LoggerCounters"
    aside: "Aside"
    source_errors: int = 0


AnyCounters: TypeAlias = GatewayCounters | ExecCounters | WatchCounters
