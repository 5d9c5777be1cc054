"""Messages of 100 k connections of one period with 10 k nodes take less than a second.

Half of the connections go to nodes in random order, a quarter to subnets, and a quarter is exit
traffic in both directions, which is anonymized. The peer is the same connections without nodes.
"""

from typing import Any

import numpy as np

from bench import SEED
from bench.harness import Budget, Turns
from bench.native import lib as bench_lib
from netlog import FLOW_DTYPE, Node, RouterConfig, StaticNodes
from netlog.messages.build import MAX_BYTES, iter_messages
from netlog.model.flows import FlowArray

CONNECTIONS = 100_000
NODES = 10_000
FIRST = 0x64400000  # 100.64.0.0

# 2023-11-14T22:13:20Z, and five seconds later.
START_NS = 1_700_000_000 * 10**9
END_NS = START_NS + 5 * 10**9 - 1

ROUTES = RouterConfig(routes=["100.64.0.0/10", "10.0.0.0/8"])


def mapped(numbers: np.ndarray) -> np.ndarray:
    """Return IPv4 addresses in the form that rows have."""
    rows = np.zeros((len(numbers), 16), np.uint8)
    rows[:, 10:12] = 0xFF
    rows[:, 12:] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    return rows.view("V16")[:, 0]


def flows_of() -> FlowArray:
    """Return connections of all classes, in random order."""
    random = np.random.default_rng(SEED)
    flows = np.zeros(CONNECTIONS, FLOW_DTYPE)
    kind = random.integers(0, 8, CONNECTIONS)
    peer = FIRST + 2 + random.integers(0, NODES, CONNECTIONS)
    outside = random.integers(0, 1 << 24, CONNECTIONS)
    theirs = np.select([kind < 4, kind < 6], [peer, 0x0A000000 + outside], 0xC6000000 + outside)
    flows["src"] = mapped(np.where(kind == 7, theirs, FIRST + 1))
    flows["dst"] = mapped(np.where(kind == 7, peer, theirs))
    flows["src_port"] = random.integers(1024, 65536, CONNECTIONS)
    flows["dst_port"] = random.choice([53, 80, 443, 8080, 51820], CONNECTIONS)
    flows["version"] = 4
    flows["proto"] = random.choice([6, 17], CONNECTIONS)
    for name in ("tx_packets", "rx_packets", "tx_bytes", "rx_bytes"):
        flows[name] = np.exp(random.random(CONNECTIONS) * 14)
    return flows


def nodes_of() -> StaticNodes:
    """Return nodes of the usual length: 130 bytes."""
    peers = [
        Node(
            f"n{number:08}CNTRL",
            f"host-{number}.tail1234.ts.net.",
            [f"100.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"],
            "linux",
            f"user{number}@example.com",
        )
        for number in range(2, NODES + 2)
    ]
    return StaticNodes(Node("n1", "gateway", ["100.64.0.1"]), peers)


def test_messages_with_nodes(benchmark: Any) -> None:  # noqa: ANN401
    """Messages as the logger makes them, one after the other."""
    flows, nodes = flows_of(), nodes_of()

    def build(known: StaticNodes | None) -> float:
        begin = bench_lib.bench_cpu_ns()
        messages = iter_messages(
            node_id="n1",
            start=START_NS,
            end=END_NS,
            tun=flows,
            sock=None,
            routes=ROUTES,
            nodes=known,
            exit_traffic="anonymize",
        )
        sizes = [len(message.to_json()) for message in messages]
        elapsed = bench_lib.bench_cpu_ns() - begin
        assert max(sizes) <= MAX_BYTES
        return float(elapsed / 1e6)

    Turns(benchmark, lambda: build(nodes), lambda: build(None)).row(
        "messages of 100 k connections with 10 k nodes",
        "without nodes",
        Budget("<=", 1000, "ms"),
        unit="ms",
    )
