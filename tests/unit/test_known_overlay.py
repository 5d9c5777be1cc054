"""What is known of an overlay while it is metered."""

import ipaddress

from netlog import Node, NodeMap, RouterConfig
from netlog.known_overlay import KnownOverlay, OverlaySettings
from netlog.sources import KeptSource, Overlay, StaticSource

SELF, ALICE = ipaddress.ip_address("100.64.0.1"), ipaddress.ip_address("100.64.0.2")


def known(*nodes: Node) -> NodeMap:
    """The nodes of the gateway "gw" at 100.64.0.1, whose source tells of some."""
    by_address = {ipaddress.ip_address(at): node for node in nodes for at in node.addresses}
    overlay = Overlay(
        local_addrs=(ipaddress.ip_network(SELF),), nodes=NodeMap(None, by_address=by_address)
    )
    settings = OverlaySettings(node_id="gw", routes=RouterConfig())
    overlays = KnownOverlay(settings, KeptSource(StaticSource(overlay), "source"), lambda: ())
    overlays.look()
    found = overlays.snapshot()
    assert found is not None
    return found


def test_the_node_that_reports_is_the_gateway() -> None:
    """With the addresses that the source knows of it, beside the nodes of the source."""
    alice = Node("alice", "alice", [ALICE])
    assert known(alice) == NodeMap(Node("gw", addresses=[SELF]), {ALICE: alice})


def test_nobody_else_is_the_gateway() -> None:
    """A peer that is called as the gateway is has an id of its own, and its addresses are its."""
    found = known(Node("gw", "gw", [ALICE], user="alice"))
    assert found.by_address[ALICE] == Node("gw#100.64.0.2", "gw", [ALICE], user="alice")
    assert found.self_node == Node("gw", addresses=[SELF])
    assert NodeMap.merged([found, known()]).by_address[ALICE].node_id == "gw#100.64.0.2"
