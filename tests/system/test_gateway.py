"""`netlog.gateways.relay.Gateway`: a node in this process, in a namespace of its own."""

import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from netlog import DeviceError, FileSink, Message, StateError
from netlog.config.file import parse_config
from netlog.config.relay import RelayConfig
from netlog.gateways.relay import Gateway
from tests.support.gateways import joined
from tests.support.namespace import LinkCounters, Namespace, wait_for

pytestmark = pytest.mark.root

UDP_SEGMENT, SO_NO_CHECK = 103, 11  # linux/udp.h, asm-generic/socket.h

CONFIG = """
poll_period_s = 0.1
node = { id = "a" }
tun = { name = "netlog0", addresses = ["100.64.0.1/32"] }
sock = { listen = "192.0.2.1:41641" }
peers = [{ endpoint = "192.0.2.2:41641", allowed_ips = ["100.64.0.2"] }]
"""

# A process of its own: it must not wait for this one's interpreter lock.
POUR = """
import socket
user = socket.socket(type=socket.SOCK_DGRAM)
while True:
    user.sendto(b"x", ("100.64.0.2", 1))
"""

STARTS = 25
"""The kernel was still making the route of an address after one start in five."""


class Collected:
    """A sink that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def write(self, message: Message) -> None:
        """Keep it."""
        self.messages.append(message)

    def close(self) -> None:
        """Keep them all the same."""

    def packets(self) -> int:
        """Packets sent into the tunnel, over all messages."""
        return sum(
            int(traffic["tx_packets"].sum(dtype=np.uint64))
            for message in self.messages
            for traffic in (message.virtual_traffic, message.subnet_traffic, message.exit_traffic)
        )


def config() -> RelayConfig:
    """A node whose peer is the other side of the link."""
    return parse_config(CONFIG, "test", RelayConfig)


def test_what_comes_at_once_is_taken_in() -> None:
    """When a gateway has started, a packet for its IPv6 address would find a local route."""
    text = CONFIG.replace('"100.64.0.1/32"', '"100.64.0.1/32", "fd7a:115c:a1e0::1/128"')
    with joined() as (left, _):
        for _ in range(STARTS):
            with left.entered(), Gateway(parse_config(text, "test", RelayConfig), Collected()) as a:
                a.start()
                assert left.ip("-6 route get fd7a:115c:a1e0::1").startswith("local")


def started(namespace: Namespace, sink: Collected | FileSink) -> Gateway:
    """A gateway that runs in a namespace."""
    gateway = Gateway(config(), sink)
    with namespace.entered():
        gateway.start()
    return gateway


def test_stopping_under_load_loses_no_packet() -> None:
    """While packets pour in: what was read from the TUN until the stop is in the messages."""
    sink = Collected()
    with joined() as (left, _), started(left, sink) as gateway:
        sender = left.popen(sys.executable, "-c", POUR)
        try:
            wait_for(lambda: len(sink.messages) >= 3, "messages come")
            gateway.stop()
            dropped = left.counters("netlog0").tx_dropped
            wait_for(
                lambda: left.counters("netlog0").tx_dropped > dropped + 1000, "nobody reads the TUN"
            )
            counted = gateway.link_counters().tx_packets
            assert sink.packets() == counted
            assert gateway.counters().relay.tx.packets == counted > 0
        finally:
            sender.kill()
            sender.wait()


def test_a_gateway_starts_once() -> None:
    """A second start is an error, and what it has is only there while it runs."""
    with joined() as (left, _):
        gateway = Gateway(config(), Collected())
        with pytest.raises(StateError):
            gateway.counters()
        with pytest.raises(StateError):
            gateway.link_counters()
        with left.entered():
            gateway.start()
            with pytest.raises(StateError):
                gateway.start()
        assert gateway.link_counters().rx_packets == 0
        assert isinstance(left.counters("netlog0"), LinkCounters)
        gateway.close()
        gateway.close()


def test_starting_and_stopping_leaks_nothing(tmp_path: Path) -> None:
    """Many gateways one after the other leave no descriptor, thread or interface."""

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with joined() as (left, _):
        before = None
        for _ in range(10):
            sink = FileSink(tmp_path / "flows.jsonl")
            with started(left, sink) as gateway:
                gateway.stop()
            sink.close()
            before = before or held()
        assert held() == before
        assert "netlog0" not in left.ip("link")


def test_a_failed_start_leaves_nothing() -> None:
    """Where the last step fails, the steps before are taken back; afterwards it can start."""
    with joined() as (left, _):
        left.ip("route add 100.64.0.2/32 via 192.0.2.2")
        gateway = Gateway(config(), Collected())
        with left.entered():
            with pytest.raises(DeviceError, match="File exists"):
                gateway.start()
            assert "netlog0" not in left.ip("link")
            left.ip("route del 100.64.0.2/32")
            gateway.start()
        gateway.close()


def test_what_the_kernel_fails_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where UDP_SEGMENT fails on its way out, all is sent without it, and a look says so, once."""
    caplog.set_level("INFO", "netlog")
    with joined() as (left, _), started(left, Collected()) as gateway:
        gateway.look()
        assert not caplog.records
        (own,) = gateway._socks  # noqa: SLF001 - there is no other way to make the kernel fail it
        with socket.socket(fileno=os.dup(own.fd)) as same, left.entered():
            same.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as user:
                user.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
                user.sendto(bytes(1000), ("100.64.0.2", 9))
        wait_for(lambda: gateway.counters().relay.tx.packets == 10, "all is sent")
        for _ in range(2):
            gateway.look()
        (record,) = caplog.records
        assert "UDP_SEGMENT" in record.getMessage()
