"""The counters that a gateway prints: none of them is missing."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from netlog import Count, LoggerCounters, RelayCounters
from netlog.cli.counters import counter_lines
from netlog.devices.tap import TapCounters
from netlog.display.units import binary_size
from netlog.gateways.exec_metering import ExecCounters
from netlog.gateways.relay import GatewayCounters
from netlog.gateways.watch import WatchCounters
from netlog.preload.meter import Aside
from netlog.relay.relay import RX_DROPS, TX_DROPS
from netlog.sinks import SinkCounters

ASIDE = Aside(0, 0, 0, 0, 0)
NOT_PRINTED = {"logger.sinks": "the sinks' own counters are printed, one line for each"}


def gateways() -> list[Any]:
    """The counters of each kind of gateway, all 0."""
    relay = RelayCounters(
        Count(), Count(), dict.fromkeys(TX_DROPS, Count()), dict.fromkeys(RX_DROPS, Count())
    )
    return [
        GatewayCounters(relay, LoggerCounters()),
        ExecCounters(LoggerCounters(), ASIDE),
        WatchCounters({"tun t": TapCounters()}, LoggerCounters()),
    ]


def filled(value: Any, numbers: Iterator[int], name: str = "") -> Any:  # noqa: ANN401 - any counters
    """The same counters with another number in each, none of them small."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return dataclasses.replace(
            value, **{key: filled(each, numbers, key) for key, each in members.items()}
        )
    if isinstance(value, Mapping):
        return {key: filled(each, numbers, f"{name} {key}") for key, each in value.items()}
    if isinstance(value, str):
        return f"trouble {next(numbers)}"
    number = next(numbers)
    return type(value)(number * 1024 if "bytes" in name else number)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any counters
    """Each number or text in the counters, with the path to it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if not isinstance(value, Mapping):
        yield path, value
        return
    if not value:
        assert path in NOT_PRINTED, path
    for key, each in value.items():
        yield from leaves(each, f"{path}.{key}".strip("."))


def is_shown(value: Any, path: str, text: str) -> bool:  # noqa: ANN401 - a counter
    """Whether a counter is in a text, with its unit."""
    if "bytes" in path:
        shown = re.escape(binary_size(value))
    elif path.endswith("_s"):
        shown = f"{value:.0f} s"
    else:
        shown = re.escape(f"{value}")
    return re.search(rf"(?<![\w.]){shown}(?!\w)", text) is not None


@pytest.mark.parametrize("counters", gateways(), ids=lambda each: type(each).__name__)
def test_every_counter_is_printed(counters: Any) -> None:  # noqa: ANN401 - of three kinds
    """Whatever field the counters have, its number is in the text; a new one must be, too."""
    numbers = itertools.count(101)
    full, sink = filled(counters, numbers), filled(SinkCounters(), numbers)
    text = "\n".join(counter_lines(full, {"flows.jsonl": sink}))
    every = [*leaves(full), *leaves(sink, "sink")]
    assert len(every) > 30
    assert [path for path, value in every if not is_shown(value, path, text)] == []


@pytest.mark.parametrize("counters", gateways(), ids=lambda each: type(each).__name__)
def test_counters_that_are_zero_say_little(counters: Any) -> None:  # noqa: ANN401 - of three kinds
    """No trouble is named where there was none."""
    text = "\n".join(counter_lines(counters, {"flows.jsonl": SinkCounters()}))
    assert "unattributed: none\nleft out of messages: none\n" in text
    assert "polls: all in time\n" in text
    assert text.endswith("\nflows.jsonl: 0 messages written, 0 dropped")
    for word in ("lost", "failure", "without an answer", "retries"):
        assert word not in text
