"""Default routes that are written as several prefixes are default routes."""

import ipaddress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog import FLOW_DTYPE, RouterConfig, build_messages
from netlog.messages.default_route import without_default_routes
from netlog.model.routes import prefix_array


def network(text: str) -> Any:  # noqa: ANN401 - of either version
    """A prefix."""
    return ipaddress.ip_network(text)


def kept(*prefixes: str) -> list[str]:
    """Those that still count as routes."""
    networks = [network(text) for text in prefixes]
    array = without_default_routes(prefix_array(networks))
    left = [tuple(row) for row in array.tolist()]
    every = {
        tuple(row): str(net)
        for row, net in zip(prefix_array(networks).tolist(), networks, strict=True)
    }
    return [every[row] for row in left]


def all_but(version: int, *excluded: str) -> list[str]:
    """What applications generate: all addresses without some ranges."""
    found: list[Any] = [network("0.0.0.0/0" if version == 4 else "::/0")]
    for text in excluded:
        gap = network(text)
        found = [
            part
            for net in found
            for part in (net.address_exclude(gap) if gap.subnet_of(net) else [net])
        ]
    return list(map(str, found))


PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


@pytest.mark.parametrize(
    ("routes", "left"),
    [
        (["0.0.0.0/0", "::/0"], []),
        (["0.0.0.0/1", "128.0.0.0/1"], []),
        (["::/1", "8000::/1"], []),
        (["2000::/3"], []),
        (["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"], []),
        (["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"], ["10.0.0.0/8"]),
        (["0.0.0.0/1", "128.0.0.0/1", "8.8.8.0/24"], ["8.8.8.0/24"]),
        (["0.0.0.0/1", "128.0.0.0/1", "100.64.0.7/32", "fd00::/8"], ["100.64.0.7/32", "fd00::/8"]),
        (["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"], []),
        (["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/1"], []),
        (all_but(4, *PRIVATE), []),
        (all_but(4, *PRIVATE, "198.51.100.7/32", "8.8.8.8/32"), []),
        ([*all_but(4, *PRIVATE), "10.0.0.0/8", "172.20.0.0/16"], ["10.0.0.0/8", "172.20.0.0/16"]),
        (all_but(4, *PRIVATE, "224.0.0.0/3", "127.0.0.0/8", "100.64.0.0/10"), []),
        (all_but(6, "fc00::/7", "fe80::/10", "ff00::/8"), []),
        (["0.0.0.0/1"], ["0.0.0.0/1"]),
        (["0.0.0.0/1", "128.0.0.0/2"], ["0.0.0.0/1", "128.0.0.0/2"]),
        (["0.0.0.0/1", "8000::/1"], ["0.0.0.0/1", "8000::/1"]),
        (["10.0.0.0/8", "100.64.0.0/10", "fd7a:115c:a1e0::/48"], None),
    ],
)
def test_rule(routes: list[str], left: list[str] | None) -> None:
    """What is left is what says to whom an address belongs."""
    assert kept(*routes) == (routes if left is None else left)


def mapped(text: str) -> bytes:
    """An address as rows have it."""
    address = ipaddress.ip_address(text)
    return (int(address) | (0xFFFF << 32 if address.version == 4 else 0)).to_bytes(16)


def twin(networks: list[Any]) -> list[Any]:
    """The rule, slowly, for IPv4, in parts of a /8."""
    special = [network(text) for text in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")]
    own = [
        network(text)
        for text in (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "198.18.0.0/15",
        )
    ]
    public = [
        net
        for net in network("0.0.0.0/0").subnets(new_prefix=8)
        if not any(net.subnet_of(one) for one in special)
    ]
    left = [net for net in networks if net.prefixlen]
    while True:
        outer = [
            net for net in left if not any(net != other and net.subnet_of(other) for other in left)
        ]
        covered = [net for net in public if any(net.subnet_of(other) for other in outer)]
        if (len(public) - len(covered)) * 64 > len(public):
            return [net for net in networks if net in left]
        before = list(left)
        inner = [net for net in left if net not in outer]
        left = inner + [net for net in outer if any(net.subnet_of(one) for one in own)]
        if left == before:
            return left
        if not inner:
            return [net for net in networks if net in left]


@st.composite
def tilings(draw: st.DrawFn) -> list[Any]:
    """A cover of all of IPv4 in prefixes up to /8, perhaps with a gap, and other prefixes."""
    parts = [network("0.0.0.0/0")]
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(parts) - 1))
        if parts[at].prefixlen < 8:
            parts[at : at + 1] = list(parts[at].subnets())
    if draw(st.booleans()):
        del parts[draw(st.integers(0, len(parts) - 1))]
    own = ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16", "8.0.0.0/8", "100.64.0.0/10"]
    parts += [
        network(text) for text in draw(st.lists(st.sampled_from(own), max_size=3, unique=True))
    ]
    return draw(st.permutations(list(dict.fromkeys(parts))))


@given(networks=tilings())
def test_against_a_twin(networks: list[Any]) -> None:
    """Any set of prefixes: the same as the rule done slowly."""
    assert kept(*map(str, networks)) == [str(net) for net in twin(networks)]


@pytest.mark.parametrize(
    "routes", [["0.0.0.0/1", "128.0.0.0/1"], ["::/1", "8000::/1"], ["2000::/3"]]
)
@pytest.mark.parametrize("mode", [None, "aggregate"])
def test_no_address_of_the_internet_is_in_a_message(routes: list[str], mode: str | None) -> None:
    """What goes there is exit traffic, one sum without addresses, unless asked otherwise."""
    rows = np.zeros(1, FLOW_DTYPE)
    version = 4 if routes[0][0] == "0" else 6
    ends = ("100.64.0.1", "8.8.8.8") if version == 4 else ("fd7a:115c:a1e0::1", "2600::8")
    for name, text in zip(("src", "dst"), ends, strict=True):
        rows[name] = np.frombuffer(mapped(text), "V16")
    rows["version"], rows["proto"], rows["tx_packets"], rows["tx_bytes"] = version, 17, 1, 40
    (message,) = build_messages(
        node_id="a",
        start=0,
        end=1,
        tun=rows,
        sock=None,
        routes=RouterConfig([ends[0]], routes),
        exit_traffic=mode,
    )
    assert not len(message.subnet_traffic)
    text = message.to_json().decode()
    assert "8.8.8.8" not in text
    assert "2600::8" not in text
