"""The tailscale source: what a tailscaled says of its network, and what is no answer."""

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlog import Node, NodeMap, Peer
from netlog.sources import Source
from netlog.sources.tailscale import local_api as asking
from netlog.sources.tailscale import source as tailscale
from netlog.sources.tailscale.source import TailscaleSource
from tests.support.local_api_server import LocalApi, local_api
from tests.unit.sources.tailscale.tailnet_status import (
    DERP_MAP,
    GATE,
    GATE_ALLOWED,
    NODES,
    PHONE,
    SECRET,
    STATUS,
    changed,
    with_peers,
)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an answer come in time, however busy the machine is."""
    monkeypatch.setattr(tailscale, "TIMEOUT_S", 20.0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    """A LocalAPI for many tests, each of which says what it holds."""
    with local_api(tmp_path_factory.mktemp("api"), derpmap=DERP_MAP) as api:
        yield api


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("mode", ["length", "chunked", "close"])
def test_nodes_peers_and_routes_of_a_network(tmp_path: Path, mode: str) -> None:
    """Names, users, tags, endpoints and routes, each once; no secret is asked with."""
    with local_api(tmp_path, mode, status=STATUS) as api:
        source = TailscaleSource(api.socket)
        overlay = source.snapshot()
        requests = api.asked()
    assert isinstance(source, Source)
    assert overlay.nodes == NodeMap(
        NODES["1"],
        {ipaddress.ip_address(at): node for node in NODES.values() for at in node.addresses},
    )
    assert overlay.peers == (Peer("192.0.2.2:41641", GATE_ALLOWED, "gate.tail.example"),)
    assert overlay.local_addrs == tuple(
        map(ipaddress.ip_network, ("100.64.0.1/32", "fd7a:115c:a1e0::1/128"))
    )
    assert {str(route) for route in overlay.routes} == {
        "100.64.0.1/32",
        "fd7a:115c:a1e0::1/128",
        *GATE_ALLOWED,
        "100.64.0.3/32",
    }
    assert len(set(overlay.routes)) == len(overlay.routes)
    headers = {"Host": "local-tailscaled.sock", "Connection": "close"}
    assert requests == [
        {"line": f"GET /localapi/v0/{page} HTTP/1.1", "headers": headers}
        for page in ("status", "prefs")
    ]


@pytest.mark.usefixtures("patient")
def test_the_answer_is_the_same_object_while_nothing_changes(tmp_path: Path) -> None:
    """Counters and times of tailscaled are no change; a new peer is, and the others are kept."""
    with local_api(tmp_path, status=STATUS) as api:
        source = TailscaleSource(api.socket)
        first = source.snapshot()
        api.says("status", changed("Peer", "nodekey:a4be", "RxBytes", value=5))
        assert source.snapshot() is first
        api.says("status", changed("Peer", "nodekey:a4be", "Active", value=False))
        assert source.snapshot() is first
        api.says("status", changed("Peer", "nodekey:a4be", "CurAddr", value="192.0.2.9:1"))
        moved = source.snapshot()
        assert [peer.endpoint for peer in moved.peers] == ["192.0.2.9:1"]
        assert moved.nodes is first.nodes
        assert moved.routes is first.routes
        api.says("status", changed("User", "2", "LoginName", value="rob@example"))
        renamed = source.snapshot()
    assert renamed.nodes is not None
    assert first.nodes is not None
    phone, gate = map(ipaddress.ip_address, ("100.64.0.3", "100.64.0.2"))
    assert renamed.nodes.by_address[phone].user == "rob@example"
    assert renamed.nodes.by_address[gate] is first.nodes.by_address[gate]


@pytest.mark.usefixtures("patient")
def test_a_peer_that_is_idle_keeps_its_last_endpoint(tmp_path: Path) -> None:
    """Until another peer is there, or it leaves the network."""
    idle = GATE | {"CurAddr": "", "Active": False}
    with local_api(tmp_path, status=with_peers(GATE, PHONE)) as api:
        source = TailscaleSource(api.socket)
        first = source.snapshot()
        api.says("status", with_peers(idle, PHONE))
        assert source.snapshot() is first
        api.says("status", with_peers(idle, PHONE | {"CurAddr": "192.0.2.2:41641"}))
        (peer,) = source.snapshot().peers
        assert peer == Peer("192.0.2.2:41641", ("100.64.0.3/32",), "Bob's phone")
        api.says("status", with_peers(PHONE))
        source.snapshot()
        api.says("status", with_peers(idle, PHONE | {"CurAddr": "192.0.2.3:1"}))
        assert [each.endpoint for each in source.snapshot().peers] == ["192.0.2.3:1"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("gate", "phone", "expected"),
    [
        pytest.param({"CurAddr": "[2001:db8::1]:7"}, {}, {"[2001:db8::1]:7": "2"}, id="ipv6"),
        pytest.param({"CurAddr": "[fe80::1%lan0]:7"}, {}, {"[fe80::1]:7": "2"}, id="zone"),
        pytest.param(
            {"CurAddr": "", "PeerRelay": "192.0.2.7:40000:vni:9"},
            {},
            {"192.0.2.7:40000": "2"},
            id="peer-relay",
        ),
        pytest.param(
            {"CurAddr": "", "PeerRelay": "192.0.2.7:40000:vni:9"},
            {"PeerRelay": "192.0.2.7:40000:vni:10"},
            {},
            id="peer-relay-of-two",
        ),
        pytest.param(
            {"Addrs": ["192.0.2.2:41641", "10.0.0.5:41641", "10.0.0.6:41641"]},
            {"Addrs": ["192.0.2.2:41641", "10.0.0.5:41641"]},
            {"192.0.2.2:41641": "2", "10.0.0.6:41641": "2"},
            id="candidates-of-two",
        ),
        pytest.param({"CurAddr": ""}, {}, {"127.3.3.40:907": "2"}, id="region"),
        pytest.param({"CurAddr": ""}, {"Active": True}, {}, id="region-of-two"),
        pytest.param({"CurAddr": "", "Active": False}, {}, {}, id="idle"),
        pytest.param({"CurAddr": "", "Relay": "there"}, {}, {}, id="region-not-in-the-map"),
    ],
)
def test_an_endpoint_is_a_peers_if_it_is_one_peers(
    shared: LocalApi, gate: dict[str, Any], phone: dict[str, Any], expected: dict[str, str]
) -> None:
    """Where several peers are behind one endpoint, it tells nothing of any."""
    shared.says("status", with_peers(GATE | gate, PHONE | phone))
    peers = TailscaleSource(shared.socket).snapshot().peers
    names = {"gate.tail.example": "2", "Bob's phone": "3"}
    assert {peer.endpoint: names[peer.name] for peer in peers} == expected


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "derp_map",
    [
        pytest.param(None, id="no-page"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{", id="cut"),
        pytest.param({"Regions": []}, id="list"),
        pytest.param({"Regions": {"1": {"RegionID": 65536, "RegionCode": "here"}}}, id="number"),
        pytest.param({"Regions": {"1": {"RegionID": -1, "RegionCode": "here"}}}, id="negative"),
    ],
)
def test_a_map_of_relays_that_can_not_be_had_costs_the_regions_only(
    tmp_path: Path, derp_map: object
) -> None:
    """It is not asked for again while the regions are the same."""
    pages: dict[str, Any] = {} if derp_map is None else {"derpmap": derp_map}
    relayed = GATE | {"CurAddr": ""}
    with local_api(tmp_path, status=with_peers(relayed, PHONE), **pages) as api:
        source = TailscaleSource(api.socket)
        overlay = source.snapshot()
        api.says("status", with_peers(relayed, PHONE | {"OS": "other"}))
        source.snapshot()
        asked = [request["line"].split()[1] for request in api.asked()]
    assert overlay.peers == ()
    assert overlay.nodes is not None
    pages_asked = ("status", "prefs", "derpmap", "status", "prefs")
    assert asked == [f"/localapi/v0/{page}" for page in pages_asked]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        pytest.param({"AdvertiseRoutes": ["10.9.0.0/24"]}, {"10.9.0.0/24"}, id="one"),
        pytest.param({"AdvertiseRoutes": None, "Config": {"PrivateKey": SECRET}}, set(), id="none"),
        pytest.param({"AdvertiseRoutes": SECRET}, set(), id="text"),
        pytest.param(b"null", set(), id="null"),
        pytest.param(b"[", set(), id="cut"),
    ],
)
def test_routes_that_the_own_node_offers(
    tmp_path: Path, preferences: object, expected: set[str]
) -> None:
    """They are routes, whether or not the control server has said that they are approved."""
    with local_api(tmp_path, status=STATUS) as api:
        source = TailscaleSource(api.socket)
        before = source.snapshot()
        api.says("prefs", preferences)
        overlay = source.snapshot()
        assert source.snapshot() is overlay
    assert {str(route) for route in set(overlay.routes) - set(before.routes)} == expected
    assert overlay.nodes is before.nodes or expected


@pytest.mark.usefixtures("patient")
def test_long_texts_are_cut_and_cost_no_node(tmp_path: Path) -> None:
    """Nodes say their host names themselves; so many tags that no message has room are left out."""
    long = PHONE | {"HostName": "x" * 100_000, "OS": "y" * 100_000, "Tags": ["tag:a"]}
    tagged = GATE | {"Tags": [f"tag:{number}" for number in range(10_000)]}
    with local_api(tmp_path, status=with_peers(long, tagged)) as api:
        nodes = TailscaleSource(api.socket).snapshot().nodes
    assert nodes is not None
    phone = nodes.by_address[ipaddress.ip_address("100.64.0.3")]
    assert phone == Node("3", "x" * 255, ["100.64.0.3"], "y" * 255, tags=["tag:a"])
    gate = nodes.by_address[ipaddress.ip_address("100.64.0.2")]
    assert (gate.node_id, gate.name, gate.tags) == ("2", "gate.tail.example", ())


@pytest.mark.usefixtures("patient")
def test_what_is_left_out_or_null_is_nothing(tmp_path: Path) -> None:
    """As a tailscaled says it that knows no peers, no users and no names; and peers without ids."""
    bare = {"ID": "9", "TailscaleIPs": ["100.64.0.9"]}
    status = {"Self": bare, "Peer": None, "User": None, "NewMember": {"a": [1]}}
    with local_api(tmp_path, status=status) as api:
        source = TailscaleSource(api.socket)
        assert source.snapshot().nodes == NodeMap(Node("9", addresses=["100.64.0.9"]))
        api.says("status", status | {"Peer": {"k": None, "l": {"CurAddr": "192.0.2.1:1"}}})
        overlay = source.snapshot()
    assert overlay.peers == ()
    assert [str(route) for route in overlay.routes] == ["100.64.0.9/32"]


def secrets_in(error: BaseException | None) -> bool:
    """Whether an error, or what it is chained to, shows what came."""
    shown = False
    while error is not None:
        shown = shown or SECRET in str(error) or "12345" in str(error)
        error = error.__cause__
    return shown


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "status",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff" + SECRET.encode(), id="bytes"),
        pytest.param(f'{{"Self": "{SECRET}'.encode(), id="cut"),
        pytest.param(f'{{"Self": "\udc80{SECRET}"}}'.encode(errors="surrogateescape"), id="utf-8"),
        pytest.param(b'{"X":' + b"[" * 1_000_000, id="deep"),
        pytest.param([STATUS], id="list"),
        pytest.param(changed("Self", value=None), id="no-self"),
        pytest.param(changed("Self", value=SECRET), id="self-text"),
        pytest.param(changed("Self", "ID", value=""), id="no-id"),
        pytest.param(changed("Self", "ID", value=5), id="id-number"),
        pytest.param(changed("Self", "ID", value=SECRET * 1000), id="id-long"),
        pytest.param(changed("Self", "TailscaleIPs", value=[]), id="no-address"),
        pytest.param(changed("Self", "TailscaleIPs", value=[SECRET]), id="address"),
        pytest.param(changed("Self", "TailscaleIPs", value=["fe80::1%2"]), id="address-zone"),
        pytest.param(changed("Self", "TailscaleIPs", value="100.64.0.1"), id="addresses-text"),
        pytest.param(changed("Peer", value=[GATE]), id="peers-list"),
        pytest.param(changed("User", value=5), id="users"),
        pytest.param(changed("User", "1", "LoginName", value=[SECRET]), id="login"),
    ],
)
def test_a_status_that_is_none_is_an_error_without_secrets(
    shared: LocalApi, status: object
) -> None:
    """The text names the socket, and shows nothing of what came."""
    shared.says("status", status)
    with pytest.raises(ValueError, match=r".") as caught:
        TailscaleSource(shared.socket).snapshot()
    assert type(caught.value) is ValueError
    assert str(shared.socket) in str(caught.value)
    assert not secrets_in(caught.value)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "status",
    [
        pytest.param(changed("Peer", "nodekey:a4be", value=SECRET), id="peer-text"),
        pytest.param(changed("Peer", "nodekey:a4be", "TailscaleIPs", value=[SECRET]), id="peer-ip"),
        pytest.param(changed("Peer", "nodekey:a4be", "TailscaleIPs", value=[5]), id="peer-int"),
        pytest.param(changed("Peer", "nodekey:a4be", "AllowedIPs", value=[SECRET]), id="allowed"),
        pytest.param(changed("Peer", "nodekey:a4be", "PrimaryRoutes", value=["1/2"]), id="routes"),
        pytest.param(changed("Peer", "nodekey:a4be", "CurAddr", value=SECRET), id="endpoint"),
        pytest.param(changed("Peer", "nodekey:a4be", "CurAddr", value="1.2.3.4:0"), id="port"),
        pytest.param(changed("Peer", "nodekey:a4be", "Addrs", value=["[1.2.3.4"]), id="candidate"),
        pytest.param(changed("Peer", "nodekey:a4be", "PeerRelay", value="x:vni:1"), id="relay"),
        pytest.param(changed("Peer", "nodekey:a4be", "Tags", value="tag:a"), id="tags-text"),
    ],
)
def test_a_bad_peer_is_left_out(
    shared: LocalApi, status: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The others stay as they are; it is told once, without what came."""
    source = TailscaleSource(shared.socket)
    shared.says("status", changed("Peer", "nodekey:a4be", value=None))
    expected = source.snapshot()
    assert source.left_out == 0
    shared.says("status", status)
    assert source.snapshot() == expected
    assert source.left_out == 1
    assert caplog.text.count("left out") == 1
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("cut", "unexpected content"),
        ("cut_chunked", "incomplete"),
        ("negative", "incomplete"),
        ("endless", "too long"),
        ("garbage", "or not HTTP"),
        ("silent", "or not HTTP"),
        ("denied", "HTTP status 403"),
        ("moved", "HTTP status 302"),
        ("many_headers", "or not HTTP"),
    ],
)
def test_what_is_no_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, text: str
) -> None:
    """One that is cut, never ends, is not HTTP, or says no."""
    monkeypatch.setattr(asking, "MAX_ANSWER_BYTES", 1 << 20)
    with local_api(tmp_path, mode, status=STATUS) as api, pytest.raises(ValueError) as caught:  # noqa: PT011 - see below
        TailscaleSource(api.socket).snapshot()
    assert text in str(caught.value)
    assert not secrets_in(caught.value)


@pytest.mark.parametrize("mode", ["hangs", "drips", "drips_head"])
def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path, mode: str) -> None:
    """Also one that never pauses for long."""
    with local_api(tmp_path, mode, status=STATUS) as api, pytest.raises(TimeoutError):
        TailscaleSource(api.socket).snapshot()


def test_a_tailscaled_that_is_not_there(tmp_path: Path) -> None:
    """There is no socket, nobody listens any more, or nobody takes the call."""
    path = tmp_path / "tailscaled.sock"
    source = TailscaleSource(path)
    with pytest.raises(FileNotFoundError):
        source.snapshot()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        with pytest.raises(ConnectionRefusedError):
            source.snapshot()
        left.listen(0)
        with pytest.raises(TimeoutError):
            source.snapshot()
