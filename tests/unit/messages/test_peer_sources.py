"""The source of physical traffic: whose datagrams they are."""

import pytest

from netlog import Peer, flow_array
from netlog.messages.peer_sources import fill_sources
from netlog.relay.peer_map import open_peers

ENDPOINTS = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::1]:2", ""]
ALICE = Peer("192.0.2.1:1", ("100.64.0.2", "10.0.0.0/8"))
ANYWHERE = Peer("192.0.2.1:0", ("100.64.0.3",), any_port=True)
BOB_6 = Peer("[2001:db8::1]:0", ("fd00::2", "100.64.0.4"), any_port=True)


def filled(*peers: list[Peer]) -> list[str]:
    """The source of each of the endpoints, with peers as they were in force."""
    rows = flow_array([(0, "", endpoint, 1, 2, 3, 4) for endpoint in ENDPOINTS])
    found = fill_sources(rows, peers)
    candidates = ["", "100.64.0.2:0", "100.64.0.3:0", "[fd00::2]:0"]
    expected = {
        flow_array([(0, source, endpoint, 1, 2, 3, 4)]).tobytes(): source
        for endpoint in ENDPOINTS
        for source in candidates
    }
    return [expected[row.tobytes()] for row in found]


def test_an_endpoint_is_a_peers() -> None:
    """The first of its prefixes that is an address is the source; of several peers the last's."""
    assert filled([ALICE]) == ["100.64.0.2:0", "", "", "", "", ""]
    assert filled([ALICE], [Peer("192.0.2.1:1", ("100.64.0.3",))])[0] == "100.64.0.3:0"
    assert filled([Peer("192.0.2.1:1", ("10.0.0.0/8",))]) == [""] * 6
    assert filled() == [""] * 6


def test_a_peer_without_a_port_has_all_that_nobody_else_has() -> None:
    """Whatever is known better wins, also if it was known before."""
    assert filled([BOB_6]) == ["", "", "", "[fd00::2]:0", "[fd00::2]:0", ""]
    for peers in ([[ALICE, ANYWHERE]], [[ALICE], [ANYWHERE]], [[ANYWHERE], [ALICE]]):
        assert filled(*peers) == ["100.64.0.2:0", "100.64.0.3:0", "", "", "", ""]


def test_a_port_that_is_not_known_must_be_said() -> None:
    """And no relay can send there."""
    with pytest.raises(ValueError, match="or any_port"):
        Peer("192.0.2.1:0", ())
    with pytest.raises(ValueError, match="or any_port"):
        Peer("192.0.2.1:1", (), any_port=True)
    with pytest.raises(ValueError, match="expected a port from 1"):
        open_peers([ANYWHERE])
