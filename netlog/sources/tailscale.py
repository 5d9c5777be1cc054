"""A tailscaled, asked over its LocalAPI: who the nodes are, where each is, what each routes.

The control server may be Tailscale's or a headscale.

Source: ipn/ipnstate and ipn/localapi of Tailscale.
"""

import contextlib
import ipaddress
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from netlog.endpoints import MAX_PORT, join_endpoint, split_endpoint
from netlog.nodes import Node, NodeMap
from netlog.peer_map import Peer
from netlog.routes import Network
from netlog.sources.base import Overlay
from netlog.sources.local_api import get

__all__ = ["SOCKET", "TailscaleSource"]

SOCKET = Path("/var/run/tailscale/tailscaled.sock")
HOST = "local-tailscaled.sock"
"""It answers to this name only: a web page can not have a browser ask it."""
TIMEOUT_S = 0.5
"""For everything that is asked: messages wait for it."""
DERP_ADDRESS = "127.3.3.40"
"""Stands for the relays; the port is the number of the region. Source: tailcfg.DerpMagicIP."""
MAX_TEXT_CHARACTERS = 255
"""Of a name (RFC 1035 section 2.3.4). Nodes say their host name themselves."""
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[^]]*)?\]|[0-9.]+):([0-9]{1,5})(?::vni:[0-9]+)?")

_NAMES = {
    "id": "ID",
    "dns_name": "DNSName",
    "host_name": "HostName",
    "os": "OS",
    "user_id": "UserID",
    "addresses": "TailscaleIPs",
    "allowed_ips": "AllowedIPs",
    "primary_routes": "PrimaryRoutes",
    "tags": "Tags",
    "candidates": "Addrs",
    "endpoint": "CurAddr",
    "region": "Relay",
    "peer_relay": "PeerRelay",
    "active": "Active",
    "login_name": "LoginName",
    "self_node": "Self",
    "peers": "Peer",
    "users": "User",
    "state": "BackendState",
    "regions": "Regions",
    "region_id": "RegionID",
    "region_code": "RegionCode",
}


class _Told(msgspec.Struct, frozen=True, rename=_NAMES):
    """What an answer says; of its many members those that are looked at."""


class _PeerStatus(_Told, frozen=True):
    id: str = ""
    dns_name: str = ""
    host_name: str = ""
    os: str = ""
    user_id: int = 0
    addresses: tuple[str, ...] | None = None
    allowed_ips: tuple[str, ...] | None = None
    primary_routes: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    candidates: tuple[str, ...] | None = None
    endpoint: str = ""
    region: str = ""
    peer_relay: str = ""
    active: bool = False


class _User(_Told, frozen=True):
    login_name: str = ""


class _Status(_Told, frozen=True):
    state: str = ""
    self_node: _PeerStatus | None = None
    peers: dict[str, _PeerStatus | None] | None = None
    users: dict[str, _User | None] | None = None


class _Region(_Told, frozen=True):
    region_id: int = 0
    region_code: str = ""


class _DerpMap(_Told, frozen=True):
    regions: dict[str, _Region | None] | None = None


_status = msgspec.json.Decoder(_Status)
_derp_map = msgspec.json.Decoder(_DerpMap | None)


class TailscaleSource:
    """What a tailscaled knows: nodes with names, users and tags; peers with endpoints; routes.

    A peer has the endpoint that its datagrams go to now; while it is idle, and tailscaled names
    none, the last one. One that is reached over a relay (DERP) has `127.3.3.40:<region>`. An
    endpoint that several peers share (a peer relay, a region) tells nothing of any, and is left
    out.

    Args:
        socket: where tailscaled listens. Reading its status needs no more than to be let in.

    Thread safety: one thread at a time.
    """

    def __init__(self, socket: Path = SOCKET) -> None:
        self._socket = socket
        self._regions: dict[str, int] = {}  # by code; 0: it can not be had
        self._last_endpoint: dict[str, str] = {}  # of each peer that has had one
        self._nodes: dict[tuple[Any, ...], Node] = {}  # by what they were made of
        self._status = _Status()
        self._overlay = Overlay()

    def snapshot(self) -> Overlay:
        """What is so now; the same object while it is as before.

        Raises:
            OSError: nobody listens, or the answer does not come in half a second.
            ValueError: what came is no answer, or tailscaled is not in a network; the text shows
                nothing of it.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        status: _Status = self._ask(_status, "status", deadline_s)
        if status == self._status:
            return self._overlay
        own = status.self_node
        if own is None or not own.id or not own.addresses:
            raise ValueError(f"{self._socket}: tailscaled is not in a network")
        peers = [peer for peer in (status.peers or {}).values() if peer is not None and peer.id]
        self._learn_regions(peers, deadline_s)
        try:
            overlay = self._made(own, peers, status.users or {})
        except ValueError:
            # Not chained: the text of the cause has what came.
            raise ValueError(f"{self._socket}: status: not as expected") from None
        if overlay != self._overlay:
            self._overlay = overlay
        self._status = status
        return self._overlay

    # -- inside -----------------------------------------------------------------------------------

    def _ask(self, decoder: "msgspec.json.Decoder[Any]", page: str, deadline_s: float) -> Any:  # noqa: ANN401 - what the decoder makes
        answer = get(self._socket, HOST, f"/localapi/v0/{page}", deadline_s)
        try:
            return decoder.decode(answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise ValueError(f"{self._socket}: {page}: not as expected: {kind}") from None

    def _learn_regions(self, peers: Iterable[_PeerStatus], deadline_s: float) -> None:
        """Find the number of each region that a peer is relayed by; the status has its code."""
        codes = {peer.region for peer in peers if _relayed(peer)}
        if codes <= self._regions.keys():
            return
        found: _DerpMap | None = None
        with contextlib.suppress(ValueError):  # an old tailscaled does not have the page
            found = self._ask(_derp_map, "derpmap", deadline_s)
        regions = (found.regions if found is not None else None) or {}
        numbers = {
            one.region_code: one.region_id
            for one in regions.values()
            if one is not None and 0 < one.region_id <= MAX_PORT
        }
        self._regions = {code: numbers.get(code, 0) for code in codes}

    def _made(
        self, own: _PeerStatus, peers: list[_PeerStatus], users: dict[str, _User | None]
    ) -> Overlay:
        before, self._nodes = self._nodes, {}
        nodes = [self._node(one, users, before) for one in (own, *peers)]
        known = NodeMap(
            nodes[0],
            {ipaddress.ip_address(text): node for node in nodes[1:] for text in node.addresses},
        )
        if known == self._overlay.nodes:
            known = self._overlay.nodes
        local = tuple(dict.fromkeys(map(ipaddress.ip_network, nodes[0].addresses)))
        routes = dict.fromkeys(local)
        for one in (own, *peers):
            prefixes = (*(one.addresses or ()), *(one.primary_routes or ()))
            routes |= dict.fromkeys(map(_network, prefixes))
            # Of the own node they are what others may send here: all, if it is an exit node.
            if one is not own:
                routes |= dict.fromkeys(map(_network, one.allowed_ips or ()))
        named = {peer.id: node.name for peer, node in zip(peers, nodes[1:], strict=True)}
        return Overlay(tuple(self._peers(peers, named)), tuple(routes), local, known)

    def _node(
        self,
        one: _PeerStatus,
        users: dict[str, _User | None],
        before: dict[tuple[Any, ...], Node],
    ) -> Node:
        user = users.get(str(one.user_id))
        login = user.login_name if user is not None else ""
        made_of = (one.id, one.dns_name, one.host_name, one.addresses, one.os, login, one.tags)
        node = before.get(made_of)
        if node is None:
            name = one.dns_name.rstrip(".") or one.host_name
            addresses = one.addresses or ()
            texts = [text[:MAX_TEXT_CHARACTERS] for text in (name, one.os, login)]
            for address in addresses:
                ipaddress.ip_address(address)
            try:
                node = Node(one.id, texts[0], addresses, texts[1], texts[2], one.tags or ())
            except ValueError:  # so many tags
                node = Node(one.id, texts[0], addresses, texts[1], texts[2])
        self._nodes[made_of] = node
        return node

    def _peers(self, peers: list[_PeerStatus], named: dict[str, str]) -> Iterator[Peer]:
        """The peer at each endpoint, if it is one."""
        self._last_endpoint = {
            peer.id: peer.endpoint or self._last_endpoint.get(peer.id, "") for peer in peers
        }
        claims: dict[str, tuple[int, _PeerStatus | None]] = {}
        for rank, text, peer in sorted(self._claims(peers), key=lambda claim: claim[0]):
            endpoint = _endpoint(text)
            best, holder = claims.setdefault(endpoint, (rank, peer))
            if best == rank and holder is not peer:
                claims[endpoint] = (rank, None)
        for endpoint, (_, holder) in claims.items():
            if holder is not None:
                allowed = (*(holder.addresses or ()), *(holder.allowed_ips or ()))
                unique = dict.fromkeys(str(_network(text)) for text in allowed)
                yield Peer(endpoint, tuple(unique), named[holder.id])

    def _claims(self, peers: Iterable[_PeerStatus]) -> Iterator[tuple[int, str, _PeerStatus]]:
        """Which endpoint is whose, and how well that is known: 0 is best."""
        for peer in peers:
            if peer.endpoint:
                yield 0, peer.endpoint, peer
            if peer.peer_relay:
                yield 0, peer.peer_relay, peer
            if _relayed(peer) and (number := self._regions.get(peer.region, 0)):
                yield 0, join_endpoint(DERP_ADDRESS, number), peer
            if last := self._last_endpoint[peer.id]:
                yield 1, last, peer
            for candidate in peer.candidates or ():
                yield 2, candidate, peer


def _relayed(peer: _PeerStatus) -> bool:
    """Whether packets went to it of late, but not straight; of an idle one nothing is known."""
    return peer.active and not peer.endpoint and not peer.peer_relay and bool(peer.region)


def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def _endpoint(text: str) -> str:
    """Without the number of a tunnel at a relay; a zone is a matter of routing."""
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ValueError("expected address:port")
    address, port = split_endpoint(f"{match[1]}:{match[2]}")
    return join_endpoint(str(address).partition("%")[0], port)
