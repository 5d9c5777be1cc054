"""The prefix map: what every address' value is, against a linear search."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlog import StateError, flow_array
from netlog._native import ffi, lib
from netlog.messages.classify import PrefixMap, classify_flows
from netlog.model.routes import PREFIX_DTYPE, prefix_array
from tests.support import flow_strategies as r


@st.composite
def networks(draw: st.DrawFn) -> Any:  # noqa: ANN401 - IPv4Network | IPv6Network
    """A prefix of either family, often one that others nest in."""
    address = draw(st.one_of(r.ipv4, r.ipv6))
    length = draw(st.integers(0, address.max_prefixlen))
    return ipaddress.ip_network(f"{address}/{length}", strict=False)


entries = st.lists(st.tuples(networks(), st.integers(0, 255), st.integers(0, 255)), max_size=20)


def make_prefixes(given_entries: list[Any]) -> Any:  # noqa: ANN401 - a PREFIX_DTYPE array
    """Entries (network, clear, set) as the core reads them."""
    prefixes = prefix_array(entry[0] for entry in given_entries)
    prefixes["clear"] = [entry[1] for entry in given_entries]
    prefixes["set"] = [entry[2] for entry in given_entries]
    return prefixes


def slow_find(given_entries: list[Any], address: r.Address) -> int:
    """The rule itself: from the shortest prefix to the longest, equal ones as given."""
    value = 0
    for network, clear, set_bits in sorted(given_entries, key=lambda entry: entry[0].prefixlen):
        if address in network:
            value = value & ~clear | set_bits
    return value


def edges(given_entries: list[Any]) -> list[r.Address]:
    """The first and last address of each prefix, and their neighbours."""
    found: list[r.Address] = []
    for network, _, _ in given_entries:
        first, last = network[0], network[-1]
        found += [first, last]
        if int(first):
            found.append(first - 1)
        if int(last) < 2**last.max_prefixlen - 1:
            found.append(last + 1)
    return found


@given(entries, st.lists(st.one_of(r.ipv4, r.ipv6), max_size=20))
def test_find_is_a_linear_search(given_entries: list[Any], addresses: list[r.Address]) -> None:
    """Any address, and those at the edges of prefixes, have the value that the rule gives."""
    with PrefixMap(make_prefixes(given_entries)) as prefix_map:
        for address in addresses + edges(given_entries):
            assert prefix_map.find(str(address)) == slow_find(given_entries, address)


@given(entries, st.lists(r.rows, max_size=150))
def test_classify_is_find_twice(given_entries: list[Any], rows: list[Any]) -> None:
    """A row's class is the rule's at the values of its ends; an absent one has 0."""
    flows = flow_array(rows)
    rule = np.arange(256, dtype=np.uint8)
    classes = np.empty(len(flows), np.uint8)
    with PrefixMap(make_prefixes(given_entries)) as prefix_map:
        lib.netlog_prefixes_classify(
            prefix_map.handle,
            ffi.from_buffer("struct netlog_flow[]", flows),
            len(flows),
            ffi.from_buffer("uint8_t[]", rule),
            ffi.from_buffer("uint8_t[]", classes),
        )
    for row, found in zip(flows, classes, strict=True):
        src, dst = (
            0 if end is None else slow_find(given_entries, end[0]) & 15
            for end in r.read_endpoints(row)
        )
        assert found == src | dst << 4


def test_mapped_ipv6_is_not_ipv4() -> None:
    """A prefix of IPv4 says nothing about IPv4-mapped IPv6 addresses."""
    with PrefixMap(make_prefixes([(ipaddress.ip_network("10.0.0.0/8"), 0, 1)])) as prefix_map:
        assert prefix_map.find("10.0.0.1") == 1
        assert prefix_map.find("::ffff:10.0.0.1") == 0


@pytest.mark.parametrize(("version", "length"), [(4, 33), (6, 129), (5, 0), (0, 0)])
def test_bad_prefix(version: int, length: int) -> None:
    """A version or a length out of range raises ValueError."""
    prefixes = np.zeros(1, PREFIX_DTYPE)
    prefixes["version"], prefixes["length"] = version, length
    with pytest.raises(ValueError, match="prefixes"):
        PrefixMap(prefixes)


def test_closed() -> None:
    """A closed map raises StateError; closing it again is fine."""
    prefix_map = PrefixMap(prefix_array(["10.0.0.0/8"]))
    prefix_map.close()
    prefix_map.close()
    with pytest.raises(StateError):
        prefix_map.find("10.0.0.1")
    with pytest.raises(StateError):
        classify_flows(flow_array([(6, "1.2.3.4:5", "", 1, 0, 0, 0)]), prefix_map)
    with pytest.raises(StateError), prefix_map:
        prefix_map.find("10.0.0.1")
