"""TCP, UDP and ICMP echo traffic between the places of the demo.

Every exchange is one request and its echo, and a flow begins the next one only when the last has
come back or was given up. So what is under way at any moment is bounded, below what the socket
buffers and the TUN's queue hold, and no packet is lost to a full queue.
"""

import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from netlog.demo.echo import ECHO_PORT, EchoServer
from netlog.demo.namespace import Namespace
from netlog.demo.topology import Place

__all__ = ["Flow", "TrafficCounters", "TrafficRun", "flows_between"]

MAX_BYTES = {"tcp": 3000, "udp": 1200, "icmp": 1200}
"""The longest request: three segments of TCP, or one packet, at an MTU of 1280."""
PAUSE_S = (0.02, 0.12)
"""Between two exchanges of a flow, at random."""
PATIENCE_S = {"tcp": 10.0, "udp": 1.0, "icmp": 1.0}
"""How long to wait for an echo. TCP repeats what is lost; the others go on to the next one."""
READ_BYTES = 65536
ICMP_HEADER_BYTES = 8
ECHO_TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""ICMP types of an echo request and its reply: RFC 792 and RFC 4443."""

Exchange: TypeAlias = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection: `client` asks `server`, in one protocol of one address family."""

    proto: str
    family: socket.AddressFamily
    client: Place
    server: Place

    def address(self, place: Place) -> str:
        """The address of a place in this flow's family."""
        return place.ipv4 if self.family == socket.AF_INET else place.ipv6

    @property
    def text(self) -> str:
        """The flow as errors call it."""
        return f"{self.proto} {self.address(self.client)} -> {self.address(self.server)}"


def flows_between(pairs: Sequence[tuple[Place, Place]]) -> list[Flow]:
    """A flow of each protocol and family from the first to the second place of each pair."""
    return [
        Flow(proto, family, client, server)
        for client, server in pairs
        for family in (socket.AF_INET, socket.AF_INET6)
        for proto in ("tcp", "udp", "icmp")
    ]


@dataclass(slots=True)
class TrafficCounters:
    """What the flows did: exchanges that came back, and those given up, by protocol."""

    exchanged: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)


class TrafficRun:
    """Runs each flow in a thread of its own, from `start` to `stop`.

    Args:
        flows: what is to flow.
        namespaces: of every place, by name.
        seed: of the random sizes and pauses.

    Thread safety: one thread starts and stops it; `error` may be read from any.
    """

    def __init__(
        self, flows: Sequence[Flow], namespaces: Mapping[str, Namespace], seed: int
    ) -> None:
        self._flows = flows
        self._namespaces = namespaces
        self._seed = seed
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._counters = TrafficCounters()
        self._stack = contextlib.ExitStack()
        self.error: OSError | None = None

    def start(self) -> Self:
        """Listen, and begin every flow.

        Raises:
            OSError: a server's socket cannot be had.
        """
        servers = {(flow.proto, flow.family, flow.server.name): flow for flow in self._flows}
        listening = [self._server(flow) for flow in servers.values() if flow.proto != "icmp"]
        self._stack.enter_context(EchoServer(listening))
        for number, flow in enumerate(self._flows):
            chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - traffic, not secrets
            thread = threading.Thread(target=self._run, args=(flow, chance), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> TrafficCounters:
        """End every flow after its current exchange, TCP with its closing handshake.

        Returns:
            What the flows did.

        Raises:
            OSError: a flow failed; the first one's error.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()
        if self.error is not None:
            raise self.error
        return self._counters

    # -- a flow's thread --------------------------------------------------------------------------

    def _run(self, flow: Flow, chance: random.Random) -> None:
        try:
            with self._connected(flow) as client:
                exchange = EXCHANGES[flow.proto](flow, client, chance)
                self._exchange_until_stopped(flow, exchange, chance)
                if flow.proto == "tcp":
                    _finish(client)
        except OSError as error:
            with self._lock:
                self.error = self.error or OSError(error.errno, f"{flow.text}: {error}")

    def _exchange_until_stopped(
        self, flow: Flow, exchange: Exchange, chance: random.Random
    ) -> None:
        while not self._stopping.wait(chance.uniform(*PAUSE_S)):
            request = chance.randbytes(chance.randint(1, MAX_BYTES[flow.proto]))
            try:
                exchange(request)
                outcome = self._counters.exchanged
            except TimeoutError:
                if flow.proto == "tcp":
                    raise
                outcome = self._counters.given_up
            with self._lock:
                outcome[flow.proto] += 1

    def _connected(self, flow: Flow) -> socket.socket:
        icmp = socket.IPPROTO_ICMP if flow.family == socket.AF_INET else socket.IPPROTO_ICMPV6
        kind = {
            "tcp": (socket.SOCK_STREAM, 0),
            "udp": (socket.SOCK_DGRAM, 0),
            "icmp": (socket.SOCK_RAW, icmp),
        }
        with self._namespaces[flow.client.name].entered():
            client = socket.socket(flow.family, *kind[flow.proto])
        client.settimeout(PATIENCE_S[flow.proto])
        client.bind((flow.address(flow.client), 0))
        client.connect((flow.address(flow.server), 0 if flow.proto == "icmp" else ECHO_PORT))
        return client

    def _server(self, flow: Flow) -> socket.socket:
        with self._namespaces[flow.server.name].entered():
            kind = socket.SOCK_STREAM if flow.proto == "tcp" else socket.SOCK_DGRAM
            server = socket.socket(flow.family, kind)
        server.bind((flow.address(flow.server), ECHO_PORT))
        if flow.proto == "tcp":
            server.listen()
        return server


def _tcp(flow: Flow, client: socket.socket, _: random.Random) -> Exchange:
    def exchange(request: bytes) -> None:
        client.sendall(request)
        answer = b""
        while len(answer) < len(request):
            if not (data := client.recv(READ_BYTES)):
                raise ConnectionError("the server closed the connection")
            answer += data
        if answer != request:
            raise OSError(f"{flow.text}: the echo came back changed")

    return exchange


def _udp(_flow: Flow, client: socket.socket, _chance: random.Random) -> Exchange:
    def exchange(request: bytes) -> None:
        client.send(request)
        while client.recv(READ_BYTES) != request:
            pass  # the echo of a request that was given up

    return exchange


def _icmp(flow: Flow, client: socket.socket, chance: random.Random) -> Exchange:
    asks, answers = ECHO_TYPES[flow.family]
    identifier, sequence = chance.getrandbits(16), 0

    def is_answer(packet: bytes, request: bytes) -> bool:
        # A raw socket has every ICMP message of its peer, with IPv4 behind the IP header.
        start = (packet[0] & 15) * 4 if flow.family == socket.AF_INET else 0
        head = struct.pack("!HH", identifier, sequence)
        return (
            packet[start] == answers
            and packet[start + 4 : start + ICMP_HEADER_BYTES] == head
            and packet[start + ICMP_HEADER_BYTES :] == request
        )

    def exchange(request: bytes) -> None:
        nonlocal sequence
        sequence = (sequence + 1) & 0xFFFF
        client.send(_echo_request(asks, identifier, sequence, request))
        while not is_answer(client.recv(READ_BYTES), request):
            pass

    return exchange


EXCHANGES = {"tcp": _tcp, "udp": _udp, "icmp": _icmp}


def _finish(client: socket.socket) -> None:
    """Close a stream in order: the last of it is read, so that no reset goes out."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(READ_BYTES):
        pass


def _echo_request(kind: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP echo request with its checksum (RFC 1071); of ICMPv6 the kernel makes its own."""
    rest = struct.pack("!HH", identifier, sequence) + payload
    even = rest + b"\0" * (len(rest) % 2)
    total = (kind << 8) + sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total > 0xFFFF:  # noqa: PLR2004 - 16 bits
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", kind, 0, ~total & 0xFFFF) + rest
