"""The demo from beginning to end: world, gateways, traffic, stillness, verdict."""

import contextlib
import queue
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from netlog.config.file import parse_config
from netlog.config.relay import RelayConfig
from netlog.demo.reconcile import MessageSums, Verdict, add_message, reconcile
from netlog.demo.topology import NODES, PATHS, UNDERLAY, DemoNode, Topology, config_text
from netlog.demo.traffic import TrafficCounters, TrafficRun, flows_between
from netlog.gateways.relay import Gateway

if TYPE_CHECKING:
    from netlog.messages.build import Message

__all__ = ["Demo", "Interrupted", "Outcome"]

POLL_PERIOD_S = 1.0
SEED = 1
"""Of the traffic's sizes and pauses; any will do."""
LOOK_S = 0.05
STILL_LOOKS = 6
"""Counters that were the same for so many looks are still: 0.3 s, longer than a delayed ACK (40 ms)
and than the time after which TCP repeats what was lost (200 ms)."""
STILL_LIMIT_S = 20.0
"""After this time the demo continues anyway, and its verdict shows the failure."""
SINK_LIMIT_S = 30.0
"""A queue takes messages at once; longer would mean that the machine stands still."""


class Interrupted(Exception):  # noqa: N818 - no error: the user asked for it
    """The demo was told to stop before it had a verdict."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo came to."""

    verdict: Verdict
    traffic: TrafficCounters


class _Queue:
    """A sink that hands messages to the thread that shows them."""

    def __init__(self, messages: "queue.SimpleQueue[Message]") -> None:
        self._messages = messages

    def write(self, message: "Message") -> None:
        self._messages.put(message)

    def close(self) -> None:
        pass


class Demo:
    """One run of the demo.

    Args:
        seconds: how long traffic flows.
        show: is given each message as it comes: its JSON text, and the same decoded.
        wait: sleeps for the seconds given, or less, and tells whether to stop.

    Thread safety: the thread that made it.
    """

    def __init__(
        self,
        seconds: float,
        show: Callable[[bytes, dict[str, Any]], None],
        wait: Callable[[float], bool],
    ) -> None:
        self._seconds = seconds
        self._show = show
        self._wait = wait
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._totals: dict[str, MessageSums] = {}

    def run(self) -> Outcome:
        """Make the world, let traffic flow, and compare the messages with the kernel's counters.

        Whatever happens, nothing is left: the namespaces go with their last descriptor.

        Raises:
            Interrupted: `wait` said so.
            OSError: the world, a gateway or the traffic could not be made.
        """
        with contextlib.ExitStack() as stack:
            topology = stack.enter_context(Topology())
            gateways = [stack.enter_context(self._gateway(node, topology)) for node in NODES]
            traffic = TrafficRun(flows_between(PATHS), topology.namespaces, SEED)
            try:
                traffic.start()
                self._watch(traffic)
            finally:
                counters = traffic.stop()
            self._wait_until_still(topology, gateways)
            for gateway in gateways:
                gateway.stop(SINK_LIMIT_S)
            self._show_messages()
            return Outcome(self._compare(topology, gateways), counters)

    def _gateway(self, node: DemoNode, topology: Topology) -> Gateway:
        config = parse_config(
            config_text(node, POLL_PERIOD_S), f"gateway {node.place.name}", RelayConfig
        )
        gateway = Gateway(config, _Queue(self._messages))
        with topology.namespaces[node.place.name].entered():
            gateway.start()
        return gateway

    def _watch(self, traffic: TrafficRun) -> None:
        end_s = time.monotonic() + self._seconds
        while traffic.error is None and (left_s := end_s - time.monotonic()) > 0:
            self._pause(min(LOOK_S, left_s))

    def _pause(self, timeout_s: float) -> None:
        if self._wait(timeout_s):
            raise Interrupted
        self._show_messages()

    def _show_messages(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                text = self._messages.get_nowait().to_json()
                message = msgspec.json.decode(text)
                add_message(self._totals, message)
                self._show(text, message)

    def _wait_until_still(self, topology: Topology, gateways: list[Gateway]) -> None:
        """Wait until nothing is under way any more: until no counter of the kernel moves."""
        end_s, looks, last = time.monotonic() + STILL_LIMIT_S, 0, None
        while looks < STILL_LOOKS and time.monotonic() < end_s:
            now = (
                [gateway.link_counters() for gateway in gateways],
                [topology.links(node.place).counters(UNDERLAY) for node in NODES],
            )
            looks = looks + 1 if now == last else 0
            last = now
            self._pause(LOOK_S)

    def _compare(self, topology: Topology, gateways: list[Gateway]) -> Verdict:
        names = [node.place.name for node in NODES]
        tuns = [asdict(gateway.link_counters()) for gateway in gateways]
        links = [asdict(topology.links(node.place).counters(UNDERLAY)) for node in NODES]
        return reconcile(
            self._totals,
            dict(zip(names, tuns, strict=True)),
            dict(zip(names, links, strict=True)),
        )
