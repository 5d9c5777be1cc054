"""The counters that a gateway prints: none of them is missing."""

import dataclasses
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from netlog import Count, LoggerCounters, RelayCounters
from netlog.cli.counter_tables import counter_tables
from netlog.cli.counters import counter_lines, print_counters
from netlog.devices.tap import TapCounters
from netlog.display.console import open_console
from netlog.display.units import binary_size
from netlog.gateways.counters import (
    AnyCounters,
    ExecCounters,
    GatewayCounters,
    WatchCounters,
)
from netlog.model.times import format_rfc3339
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
    elif path.endswith("_ns"):
        shown = re.escape(format_rfc3339(value - value % 1_000_000))
    elif path.endswith("_s"):
        shown = f"{value:.0f} s"
    else:
        shown = re.escape(f"{value}")
    return re.search(rf"(?<![\w.]){shown}(?!\w)", text) is not None


def lines(counters: AnyCounters, sinks: dict[str, SinkCounters]) -> str:
    """The counters as they are printed into a file or a pipe."""
    return "\n".join(counter_lines(counters, sinks))


def tables(counters: AnyCounters, sinks: dict[str, SinkCounters], width: int = 120) -> str:
    """The counters as a terminal shows them."""
    shown = io.StringIO()
    console = open_console(shown)
    console.width = width
    console.print(counter_tables("node-a", counters, sinks))
    return shown.getvalue()


@pytest.mark.parametrize("render", [lines, tables])
@pytest.mark.parametrize("counters", gateways(), ids=lambda each: type(each).__name__)
def test_every_counter_is_printed(
    counters: AnyCounters, render: Callable[[AnyCounters, dict[str, SinkCounters]], str]
) -> None:
    """Whatever field the counters have, its number is in the text; a new one must be, too."""
    numbers = itertools.count(101)
    full, sink = filled(counters, numbers), filled(SinkCounters(), numbers)
    text = render(full, {"flows.jsonl": sink})
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


def test_tables_are_in_columns() -> None:
    """Numbers and sizes are aligned, each row has its unit, and what is 0 has no column."""
    relay = RelayCounters(Count(1_234_567, 2048), Count(1, 5), {"no_peer": Count(3, 99)}, {})
    counters = GatewayCounters(relay, LoggerCounters(messages=7))
    sinks = {"a": SinkCounters(written=1000), "[::1]:x:": SinkCounters(pending=2)}
    shown = [line.rstrip() for line in tables(counters, sinks, 80).splitlines()]
    assert shown[1:5] == [
        "node-a",
        "sent to peers           1,234,567  packets     2.0 KiB",
        "  dropped, no peer              3  packets      99 B",
        "received from peers             1  packet        5 B",
    ]
    assert shown[-3:] == [
        "messages to  written  waiting  dropped",
        "a              1,000        0        0",
        "[::1]:x:           0        2        0",
    ]


def test_a_terminal_gets_tables_and_a_pipe_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe each line begins with the program and the gateway."""
    counters, sinks = gateways()[0], {"a": SinkCounters()}
    print_counters("node-a", counters, sinks, "node-a: ")
    expected = "".join(f"netlog: node-a: {line}\n" for line in counter_lines(counters, sinks))
    assert capsys.readouterr().err == expected
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_counters("node-a", counters, sinks, "node-a: ")
    assert "netlog: " not in (shown := capsys.readouterr().err)
    assert "sent to peers" in shown


@pytest.mark.parametrize("render", [lines, tables])
@pytest.mark.parametrize("counters", gateways(), ids=lambda each: type(each).__name__)
def test_one_of_a_thing_is_in_the_singular(
    counters: AnyCounters, render: Callable[[AnyCounters, dict[str, SinkCounters]], str]
) -> None:
    """In every counter."""
    ones = itertools.repeat(1)
    text = render(filled(counters, ones), {"a": filled(SinkCounters(), ones)})
    text = re.sub("trouble 1|whose messages|messages (to|:)", "", text)
    nouns = "packets|frames|times|messages|periods|processes|TUNs|descriptors"
    assert re.findall(rf"\b1 +[a-z ]*?(?:{nouns})\b", text) == []


def test_what_was_seen_has_a_time() -> None:
    """A relay counts at once, the logger at the end of a period: the difference is no loss."""
    logger = LoggerCounters(until_ns=1_700_000_000_123_999_999)
    counters = GatewayCounters(gateways()[0].relay, logger)
    assert "seen at the tun until 2023-11-14T22:13:20.123Z: tx 0 packets" in lines(counters, {})
    assert "seen: until 2023-11-14T22:13:20.123Z\n" in tables(counters, {})
