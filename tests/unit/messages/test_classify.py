"""Classes of traffic: the seed's rule, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from netlog import FLOW_DTYPE, RouterConfig, flow_array
from netlog._native import ffi, lib
from netlog.messages.classify import OverlayRanges, Tally, Traffic, classify_flows, route_map
from tests.support import flow_strategies as r

OVERLAY = RouterConfig(local_addrs=["100.64.0.1"], routes=["100.64.0.0/16", "fd7a:115c:a1e0::/48"])
SUBNETS = RouterConfig(subnet_routes=["10.0.0.0/8", "100.115.92.0/24", "2001:db8::/32"])
EVERYTHING = RouterConfig(routes=["0.0.0.0/0", "::/0"])


def classify(src: str, dst: str, *configs: RouterConfig, **overlay: Any) -> Traffic:  # noqa: ANN401
    """The class of one connection."""
    flows = flow_array([(6, src, dst, 1, 1, 1, 1)])
    with route_map(configs, **overlay) as prefix_map:
        return Traffic(classify_flows(flows, prefix_map).classes[0])


@pytest.mark.parametrize(
    ("src", "dst", "expected"),
    [
        ("100.64.0.1:1", "100.64.9.9:2", Traffic.VIRTUAL),
        ("[fd7a:115c:a1e0::1]:1", "100.64.9.9:2", Traffic.VIRTUAL),
        # an overlay address, but in no route
        ("100.64.0.1:1", "100.65.0.1:2", Traffic.EXIT),
        ("100.64.0.1:1", "10.1.2.3:2", Traffic.SUBNET),
        ("10.1.2.3:1", "100.64.0.1:2", Traffic.SUBNET),
        ("10.1.2.3:1", "8.8.8.8:2", Traffic.SUBNET),
        ("10.1.2.3:1", "10.1.2.4:2", Traffic.SUBNET),
        # in a route, but excluded from the overlay ranges
        ("100.64.0.1:1", "100.115.92.1:2", Traffic.SUBNET),
        ("100.64.0.1:1", "8.8.8.8:2", Traffic.EXIT),
        ("[2001:db8::1]:1", "[2001:db9::1]:1", Traffic.SUBNET),
        # IPv4-mapped IPv6 is not in a route of IPv4
        ("[::ffff:10.1.2.3]:1", "8.8.8.8:2", Traffic.EXIT),
        ("", "", Traffic.EXIT),
        ("", "10.1.2.3:1", Traffic.SUBNET),
        ("100.64.0.1:1", "", Traffic.EXIT),
    ],
)
def test_seed_rule(src: str, dst: str, expected: Traffic) -> None:
    """Overlay to overlay is virtual, else a subnet at either end, else exit."""
    assert classify(src, dst, OVERLAY, SUBNETS) == expected


def test_default_routes_do_not_count() -> None:
    """A prefix of length 0 puts no address into a route."""
    assert classify("100.64.0.1:1", "100.64.0.2:1", EVERYTHING) == Traffic.EXIT
    assert classify("10.0.0.1:1", "[::1]:1", EVERYTHING) == Traffic.EXIT
    half = RouterConfig(routes=["0.0.0.0/1"])
    assert classify("10.0.0.1:1", "[::1]:1", half, EVERYTHING) == Traffic.SUBNET


def test_all_configurations_of_the_period() -> None:
    """What was routed at some moment of the period counts for all of it."""
    before, after = RouterConfig(routes=["100.64.0.1"]), RouterConfig(routes=["100.64.0.2"])
    assert classify("100.64.0.1:1", "100.64.0.2:1", before) == Traffic.EXIT
    assert classify("100.64.0.1:1", "100.64.0.2:1", before, after) == Traffic.VIRTUAL
    assert classify("100.64.0.1:1", "100.64.0.2:1") == Traffic.EXIT


def test_other_overlay_ranges() -> None:
    """Overlay ranges are the caller's, with their exclusions."""
    overlay = OverlayRanges(["10.0.0.0/8"], excluded=["10.9.0.0/16"])
    config = RouterConfig(routes=["10.0.0.0/8", "100.64.0.0/10"])
    assert classify("10.0.0.1:1", "10.1.0.1:1", config, overlay=overlay) == Traffic.VIRTUAL
    assert classify("10.0.0.1:1", "10.9.0.1:1", config, overlay=overlay) == Traffic.SUBNET
    assert classify("100.64.0.1:1", "1.1.1.1:1", config, overlay=overlay) == Traffic.SUBNET


@given(r.row_lists)
def test_tallies(rows: list[Any]) -> None:
    """Rows and counts of a class add up; rows that say nothing are left out."""
    flows = flow_array([*rows, (0, "", "", 0, 0, 0, 0)])
    before = flows.tobytes()
    with route_map([OVERLAY, SUBNETS]) as prefix_map:
        classified = classify_flows(flows, prefix_map)
    assert flows.tobytes() == before
    for traffic in Traffic:
        chosen = flows[classified.classes == traffic]
        sums = (min(total, r.U64) for total in r.totals(chosen))
        assert classified.tallies[traffic] == Tally(len(chosen), *sums)
    left_out = flows[classified.classes == lib.NETLOG_LEFT_OUT]
    assert len(left_out) == sum(not r.entry_of(row) for row in flows)


def test_sums_saturate() -> None:
    """A sum beyond 2^64-1 stays there, whatever comes after."""
    flows = np.concatenate([flow_array([(6, "", "", r.U64 - 1, 5, 0, 0)])] * 3)
    tally = classify_flows(flows, None).tallies[Traffic.PHYSICAL]
    assert tally.counts == (r.U64, 15, 0, 0)


def test_more_than_a_chunk() -> None:
    """Rows beyond the first chunk are classified and counted, too."""
    flows = np.empty(20_000, FLOW_DTYPE)
    flows[:9000] = flow_array([(6, "10.0.0.1:1", "10.0.0.2:1", 1, 2, 3, 4)])
    flows[9000:] = flow_array([(6, "8.8.8.8:1", "1.1.1.1:1", 5, 0, 0, 0)])
    with route_map([SUBNETS]) as prefix_map:
        classified = classify_flows(flows, prefix_map)
    assert list(classified.classes) == [Traffic.SUBNET] * 9000 + [Traffic.EXIT] * 11_000
    assert classified.tallies[Traffic.SUBNET] == Tally(9000, 9000, 18_000, 27_000, 36_000)
    assert classified.tallies[Traffic.EXIT] == Tally(11_000, 55_000, 0, 0, 0)


def test_classes_are_the_core_s() -> None:
    """The core keeps as many tallies as there are classes."""
    assert len(Traffic) == lib.NETLOG_CLASSES
    assert ffi.sizeof("struct netlog_tally") == 40
