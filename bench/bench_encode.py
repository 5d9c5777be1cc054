"""Classify, sort and encode 1 M connections by 1 000 routes: at most 150 ns each, IPv6 200.

All of them are reported in full (as exit traffic), in random order, with counts of all lengths.
The peer is copying the text that comes out. The seed needed 956 ns to extract and classify and
388 ns to encode, unsorted, by one prefix.
"""

import ipaddress
from typing import Any

import numpy as np
import pytest

from bench import SEED
from bench.harness import Budget, Row, Turns
from bench.native import lib as bench_lib
from bench.packets import Memory
from netlog import FLOW_DTYPE, RouterConfig
from netlog._native import check, ffi, lib
from netlog.messages.build import MAX_BYTES, iter_messages
from netlog.messages.classify import Traffic, classify_flows, route_map
from netlog.model.flows import FlowArray

CONNECTIONS = 1 << 20
ROUTES = 1000
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
LIMITS = {4: 150, 6: 200}

# 2023-11-14T22:13:20Z, and five seconds later.
START_NS = 1_700_000_000 * 10**9
END_NS = START_NS + 5 * 10**9 - 1

Routes = list[ipaddress.IPv4Network | ipaddress.IPv6Network]


def routes_of(version: int) -> Routes:
    """Return one overlay prefix, and subnets of all lengths between a few and many hosts."""
    random = np.random.default_rng(SEED)
    if version == 4:
        routes: Routes = [ipaddress.ip_network("100.64.0.0/10")]
        base, bits, most, least = int(ipaddress.ip_address("10.0.0.0")), 24, 28, 18
    else:
        routes = [ipaddress.ip_network("fd7a:115c:a1e0::/48")]
        base, bits, most, least = int(ipaddress.ip_address("fd00::")), 112, 112, 48
    width = 32 if version == 4 else 128
    while len(set(routes)) < ROUTES:
        address = base + int.from_bytes(random.bytes(bits // 8))
        length = int(random.integers(least, most + 1))
        mask = (1 << (width - length)) - 1
        routes.append(ipaddress.ip_network((address & ~mask, length)))
    return sorted(set(routes), key=str)


def addresses_in(networks: Routes, picks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return one address of each picked network, 16 raw bytes each, IPv4 in mapped form."""
    low = np.frombuffer(
        b"".join(_mapped(network.network_address) for network in networks), np.uint8
    ).reshape(-1, 16)
    host = np.frombuffer(
        b"".join(_mapped(network.hostmask)[-16:] for network in networks), np.uint8
    ).reshape(-1, 16)
    noise = random.integers(0, 256, (len(picks), 16), np.uint8)
    rows: np.ndarray = low[picks] | (noise & host[picks])
    return rows


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    if address.version == 6:
        return address.packed
    return bytes(10) + b"\xff\xff" + address.packed


def flows_of(version: int, routes: Routes) -> FlowArray:
    """Return connections of all classes: from the overlay to overlay, subnets, and the outside."""
    random = np.random.default_rng(SEED + 1)
    overlay = [network for network in routes if str(network) == "100.64.0.0/10"]
    overlay = overlay or [ipaddress.ip_network("fd7a:115c:a1e0::/48")]
    world = ipaddress.ip_network("198.18.0.0/15" if version == 4 else "2001:db8::/32")
    anywhere = [*routes, *overlay * len(routes), *[world] * len(routes)]
    flows = np.zeros(CONNECTIONS, FLOW_DTYPE)
    ours = addresses_in(overlay, np.zeros(CONNECTIONS, np.int64), random)
    theirs = addresses_in(anywhere, random.integers(0, len(anywhere), CONNECTIONS), random)
    flows["src"] = np.ascontiguousarray(ours).view("V16")[:, 0]
    flows["dst"] = np.ascontiguousarray(theirs).view("V16")[:, 0]
    flows["src_port"] = random.integers(1024, 65536, CONNECTIONS)
    flows["dst_port"] = random.choice([53, 80, 443, 8080, 51820], CONNECTIONS)
    flows["version"] = version
    flows["proto"] = random.choice([6, 17], CONNECTIONS)
    for name in ("tx_packets", "rx_packets"):
        flows[name] = np.exp(random.random(CONNECTIONS) * 12)
    for name in ("tx_bytes", "rx_bytes"):
        flows[name] = flows[name.replace("bytes", "packets")] * random.integers(
            60, 1400, CONNECTIONS, np.uint64
        )
    return flows


@VERSIONS
def test_messages(benchmark: Any, version: int) -> None:  # noqa: ANN401
    """All three steps, as the logger does them: one message after the other, as text."""
    routes = routes_of(version)
    flows = flows_of(version, routes)
    config = RouterConfig(routes=routes)
    total = sum(len(message.to_json()) for message in _messages(flows, config))
    with Memory(total) as text, Memory(total) as copy:

        def build() -> float:
            begin = bench_lib.bench_cpu_ns()
            written = sum(len(message.to_json()) for message in _messages(flows, config))
            elapsed = bench_lib.bench_cpu_ns() - begin
            assert written == total
            return float(elapsed / CONNECTIONS)

        def copied() -> float:
            return float(bench_lib.bench_memcpy(copy.address, text.address, total) / CONNECTIONS)

        Turns(benchmark, build, copied).row(
            f"classify, sort, encode 1 M, IPv{version}",
            "memcpy of the text",
            Budget("<=", LIMITS[version], "ns"),
            rounds=5,
        )
        benchmark.extra_info["text_bytes_per_connection"] = total / CONNECTIONS


def _messages(flows: FlowArray, config: RouterConfig) -> Any:  # noqa: ANN401
    return iter_messages(
        node_id="bench",
        start=START_NS,
        end=END_NS,
        tun=flows,
        sock=None,
        routes=config,
        exit_traffic="log",
    )


@VERSIONS
def test_steps(benchmark: Any, version: int) -> None:  # noqa: ANN401
    """The three steps separately, without a budget of their own."""
    routes = routes_of(version)
    flows = flows_of(version, routes)
    prefix_map = route_map([RouterConfig(routes=routes)])
    order = np.empty(CONNECTIONS, np.uint32)
    rows = ffi.from_buffer("struct netlog_flow[]", flows)
    text = ffi.new("char[]", MAX_BYTES)
    encoded = ffi.new("size_t *")
    steps: dict[str, list[float]] = {"classify": [], "sort": [], "encode": []}

    def run() -> None:
        marks = [bench_lib.bench_cpu_ns()]
        classified = classify_flows(flows, prefix_map)
        marks.append(bench_lib.bench_cpu_ns())
        classes = ffi.from_buffer("uint8_t[]", classified.classes)
        permutation = ffi.from_buffer("uint32_t[]", order)
        check(lib.netlog_sort_flows(rows, classes, CONNECTIONS, permutation), "sort")
        marks.append(bench_lib.bench_cpu_ns())
        done = 0
        while done < CONNECTIONS:
            left = CONNECTIONS - done
            lib.netlog_encode_flows(
                rows, permutation + done, left, text, MAX_BYTES, encoded, ffi.NULL
            )
            assert encoded[0] > 0
            done += encoded[0]
        marks.append(bench_lib.bench_cpu_ns())
        assert all(
            classified.tallies[kind].rows > CONNECTIONS // 10 for kind in Traffic if kind < 3
        )
        for step, times in enumerate(steps.values()):
            times.append((marks[step + 1] - marks[step]) / CONNECTIONS)

    benchmark.pedantic(run, rounds=5, iterations=1)
    medians = {step: float(np.median(times)) for step, times in steps.items()}
    benchmark.extra_info["rounds"] = steps
    Row(
        f"{' + '.join(f'{step} {ns:.0f}' for step, ns in medians.items())}, IPv{version}",
        sum(medians.values()),
        "ns",
    ).save(benchmark)
    prefix_map.close()
