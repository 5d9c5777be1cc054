"""netlog.gateways.overlay: what a source says, laid over what the user says."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest

from netlog import Logger, Node, NodeMap, RouterConfig, StaticNodes
from netlog.gateways.overlay import OverlayFollower, OverlaySettings
from netlog.model.peers import Peer
from netlog.model.routes import Network
from netlog.sources import KeptSource, Overlay

LAPTOP = Node("n2", "laptop", ["100.64.0.2"])
A, B = Peer("192.0.2.1:1", ("100.64.0.1",)), Peer("192.0.2.2:1", ("100.64.0.2",))
MOVED = Peer("192.0.2.9:1", ("100.64.0.2",))


class Told:
    """A source that says what the test tells it, and fails while that is nothing."""

    def __init__(self, *told: Overlay | None) -> None:
        self.told = list(told)

    def snapshot(self) -> Overlay:
        """The next answer."""
        now = self.told.pop(0)
        if now is None:
            raise OSError(5, "nobody is there")
        return now


def known(
    source: Told | None,
    interfaces: Sequence[str] = (),
    **settings: Any,  # noqa: ANN401 - OverlaySettings has the types
) -> OverlayFollower:
    """What is known by a source."""
    base: dict[str, Any] = {"node_id": "n1", "routes": RouterConfig(), **settings}
    kept = None if source is None else KeptSource(source, "told")
    return OverlayFollower(OverlaySettings(**base), kept, lambda: interfaces)


def networks(*texts: str) -> tuple[Network, ...]:
    """Prefixes."""
    return tuple(map(ipaddress.ip_network, texts))


def test_a_source_adds_to_what_the_user_says() -> None:
    """Routes and peers are added up; of two peers with one endpoint the source's wins."""
    settings: dict[str, Any] = {
        "routes": RouterConfig(["100.64.0.7"], ["10.0.0.0/8"], ["10.1.0.0/16"]),
        "peers": (A, Peer(B.endpoint, ("100.64.0.9",))),
    }
    overlay = Overlay((B,), networks("10.2.0.0/16"), networks("100.64.0.1/32"))
    seen = known(Told(overlay), **settings)
    seen.look()
    assert seen.peers == (A, B)
    assert seen.routes == RouterConfig(
        ["100.64.0.7", "100.64.0.1"], ["10.0.0.0/8", "10.2.0.0/16"], ["10.1.0.0/16"]
    )


def test_a_peer_that_moved_is_known_at_both_places_for_a_period() -> None:
    """A tap counts a little late; then only the new place is."""
    seen = known(Told(Overlay((B,)), Overlay((MOVED,)), Overlay((MOVED,))))
    for expected in ((B,), (B, MOVED), (MOVED,)):
        seen.look()
        assert seen.peers == expected


def test_the_node_that_reports_has_the_addresses_of_the_interface() -> None:
    """Where the source does not say who it is: loopback's here."""
    nodes = NodeMap(None, {ipaddress.ip_address("100.64.0.2"): LAPTOP})
    seen = known(
        Told(Overlay(local_addrs=networks("100.64.0.1/32", "10.0.0.0/8"), nodes=nodes)), ["lo"]
    )
    assert seen.nodes is seen
    assert seen.snapshot() is None
    seen.look()
    told = seen.snapshot()
    assert told is not None
    assert told.self_node is not None
    assert (told.self_node.node_id, told.self_node.addresses[0]) == ("n1", "100.64.0.1")
    assert "127.0.0.1" in told.self_node.addresses
    assert "10.0.0.0" not in told.self_node.addresses
    assert told.by_address[ipaddress.ip_address("100.64.0.2")] == LAPTOP
    assert ipaddress.ip_network("127.0.0.1") in seen.routes.local_addrs


def test_nobody_else_is_the_node_that_reports() -> None:
    """A peer that is called as it is has an id of its own, and keeps its addresses."""
    at = ipaddress.ip_address("100.64.0.2")
    one = Overlay(nodes=NodeMap(None, {at: Node("n1", "n1", [at], user="alice")}))
    seen = known(Told(one, Overlay(nodes=NodeMap())), ["lo"])
    seen.look()
    told = seen.snapshot()
    assert told is not None
    assert told.by_address[at] == Node("n1#100.64.0.2", "n1", [at], user="alice")
    seen.look()
    then = seen.snapshot()
    assert then is not None
    assert NodeMap.merged([told, then]).by_address[at].node_id == "n1#100.64.0.2"


def test_the_users_own_nodes_come_first() -> None:
    """A source's are not looked at then; without both there are none."""
    own = StaticNodes(LAPTOP)
    assert known(Told(), nodes=own).nodes is own
    assert known(None).nodes is None


def test_what_a_source_knows_of_itself_stays() -> None:
    """The node that reports is not made anew."""
    nodes = NodeMap(LAPTOP)
    seen = known(Told(Overlay(nodes=nodes)), ["lo"])
    seen.look()
    assert seen.snapshot() is nodes


def test_while_a_source_is_down_its_last_answer_holds(caplog: pytest.LogCaptureFixture) -> None:
    """Before the first one nothing is known."""
    seen = known(Told(None, Overlay((A,)), None))
    for expected in ((), (A,), (A,)):
        seen.look()
        assert seen.peers == expected
    assert caplog.text.count("; using its last answer") == 2


def test_a_logger_is_told_of_what_has_changed_only() -> None:
    """Routes are the same object as long as nothing is new."""
    seen = known(Told(Overlay((A,)), Overlay((A,)), Overlay((A,), networks("10.0.0.0/8"))))
    seen.look()
    routes = seen.routes
    logger = Logger()
    seen.refresh(logger)
    assert seen.routes is routes
    seen.refresh(logger)
    assert seen.routes.routes == networks("10.0.0.0/8")
