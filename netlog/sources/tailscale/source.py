"""A tailscaled, read over its LocalAPI: the nodes, their endpoints, and their routes.

The control server may be Tailscale's or a headscale.

Source: ipn/ipnstate and ipn/localapi of Tailscale.
"""

import contextlib
import dataclasses
import ipaddress
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from netlog.model.addresses import MAX_PORT, join_endpoint, split_endpoint
from netlog.model.nodes import Node, NodeMap
from netlog.model.peers import Peer
from netlog.model.routes import Network
from netlog.sources.base import Overlay
from netlog.sources.tailscale.local_api import get

__all__ = ["SOCKET", "TailscaleSource"]

_log = logging.getLogger("netlog")

SOCKET = Path("/var/run/tailscale/tailscaled.sock")
HOST = "local-tailscaled.sock"
"""tailscaled answers only requests for this host, so that a web page cannot use a browser to ask
it."""
TIMEOUT_S = 0.5
"""For all requests of a snapshot together, because messages wait for it."""
DERP_ADDRESS = "127.3.3.40"
"""Stands for DERP relays; the port is the region's number. Source: tailcfg.DerpMagicIP."""
MAX_TEXT_CHARACTERS = 255
"""Limit for a name (RFC 1035 section 2.3.4), needed because nodes choose their own host name."""
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
    "offered": "AdvertiseRoutes",
}


class _Told(msgspec.Struct, frozen=True, gc=False, rename=_NAMES):
    """An answer: the members that netlog uses; the others are ignored."""


class _PeerStatus(_Told, frozen=True, gc=False):
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


class _User(_Told, frozen=True, gc=False):
    login_name: str = ""


class _Status(_Told, frozen=True, gc=False):
    state: str = ""
    self_node: _PeerStatus | None = None
    peers: dict[str, _PeerStatus | None] | None = None
    users: dict[str, _User | None] | None = None


class _Region(_Told, frozen=True, gc=False):
    region_id: int = 0
    region_code: str = ""


class _DerpMap(_Told, frozen=True, gc=False):
    regions: dict[str, _Region | None] | None = None


class _Preferences(_Told, frozen=True, gc=False):
    offered: tuple[str, ...] | None = None


class _Traits(NamedTuple):
    """The part of a node that does not change with its endpoint."""

    node_id: str
    name: str
    addresses: tuple[str, ...]
    os: str
    user: str
    tags: tuple[str, ...]
    prefixes: tuple[str, ...]


class _Known(NamedTuple):
    """The values built from a node's traits."""

    node: Node
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, traits: _Traits) -> Self:
        """Build them.

        Raises:
            ValueError: an address or a prefix is not valid, or the id is too long.
        """
        hosts = {str(host): host for host in map(_network, traits.addresses)}
        addresses = [host.network_address for host in hosts.values()]
        # Most prefixes repeat the node's addresses: reuse their parsed values.
        others = [hosts.get(prefix) or _network(prefix) for prefix in traits.prefixes]
        networks = tuple(dict.fromkeys((*hosts.values(), *others)))
        texts = (traits.name, traits.os, traits.user)
        name, os, user = (text[:MAX_TEXT_CHARACTERS] for text in texts)
        try:
            node = Node(traits.node_id, name, addresses, os, user, traits.tags)
        except ValueError:  # too many tags
            node = Node(traits.node_id, name, addresses, os, user)
        return cls(node, networks)


class _RawStatus(_Told, frozen=True, gc=False):
    """As `_Status`, with peers that are not decoded."""

    state: str = ""
    self_node: _PeerStatus | None = None
    peers: dict[str, msgspec.Raw] | None = None
    users: dict[str, _User | None] | None = None


_BAD_PEER = _PeerStatus(id="bad", endpoint="bad")
"""Stands for a peer that cannot be decoded."""


class _StatusDecoder:
    """Decodes a status, in which a peer may be anything."""

    def __init__(self) -> None:
        self._whole = msgspec.json.Decoder(_Status)
        self._raw = msgspec.json.Decoder(_RawStatus)
        self._peer = msgspec.json.Decoder(_PeerStatus | None)

    def decode(self, answer: bytes) -> _Status:
        """Return the status.

        Raises:
            msgspec.MsgspecError, RecursionError, UnicodeDecodeError: it is not one.
        """
        try:
            return self._whole.decode(answer)
        except msgspec.ValidationError:
            raw = self._raw.decode(answer)
        peers = {key: self._decode_peer(peer) for key, peer in (raw.peers or {}).items()}
        return _Status(raw.state, raw.self_node, peers, raw.users)

    def _decode_peer(self, peer: msgspec.Raw) -> _PeerStatus | None:
        try:
            return self._peer.decode(peer)
        except msgspec.ValidationError:
            return _BAD_PEER


_status = _StatusDecoder()
_derp_map = msgspec.json.Decoder(_DerpMap | None)
_preferences = msgspec.json.Decoder(_Preferences | None)


class TailscaleSource:
    """What a tailscaled knows: nodes with names, users and tags; peers with endpoints; routes.

    - A peer has the endpoint that its datagrams go to now. While it is idle tailscaled names none,
      and the peer keeps its last endpoint.
    - A peer that is reached over a relay (DERP) has the endpoint `127.3.3.40:<region>`.
    - If several peers share an endpoint (a peer relay, a region), it is left out, because it does
      not identify a peer.

    - A peer with a field that is not valid is left out, and its traffic has no name. The log says
      so once.

    Attributes:
        left_out: how many peers of the last answer were left out.

    Args:
        socket: where tailscaled listens. Permission to connect is enough to read the status.

    Thread safety: one thread at a time.
    """

    def __init__(self, socket: Path = SOCKET) -> None:
        self._socket = socket
        self._regions: dict[str, int] = {}  # by code; 0: unknown
        self._last_endpoint: dict[str, str] = {}  # by peer id; "": never had one
        self._traits: tuple[_Traits, ...] = ()  # this node's, then each peer's
        self._known: list[_Known] = []  # built from _traits
        self._of_nodes = Overlay()  # built from _traits: everything but the peers
        self._told: tuple[_Status, tuple[str, ...]] = (_Status(), ())
        self._overlay = Overlay()
        self.left_out = 0

    def snapshot(self) -> Overlay:
        """Return the present state; the same object as long as nothing has changed.

        Raises:
            OSError: nothing listens there, or the answer does not come within 0.5 s.
            ValueError: the answer is not valid, or tailscaled is not in a network; the text
                contains nothing of the answer.
        """
        deadline_s = time.monotonic() + TIMEOUT_S
        status: _Status = self._ask(_status, "status", deadline_s)
        offered = self._offered(deadline_s)
        if (status, offered) == self._told:
            return self._overlay
        own = status.self_node
        if own is None or not own.id or not own.addresses:
            raise ValueError(f"{self._socket}: tailscaled is not logged in to a network")
        peers = [peer for peer in (status.peers or {}).values() if peer is not None and peer.id]
        self._learn_regions(peers, deadline_s)
        # headscale does not always tell a node which of its offered routes are approved, so all
        # offered routes count.
        own = msgspec.structs.replace(own, primary_routes=(*(own.primary_routes or ()), *offered))
        users = status.users or {}
        try:
            overlay = self._learn(own, peers, users)
        except ValueError:
            overlay = None
        if overlay is None:
            whole = [peer for peer in peers if _is_whole(peer)]
            try:
                overlay = self._learn(own, whole, users)
            except ValueError:
                # Not chained: the text of the cause contains parts of the answer.
                raise ValueError(f"{self._socket}: status: unexpected content") from None
            self._tell_left_out(len(peers) - len(whole), len(peers))
        else:
            self._tell_left_out(0, len(peers))
        if overlay != self._overlay:
            self._overlay = overlay
        self._told = (status, offered)
        return self._overlay

    # -- inside -----------------------------------------------------------------------------------

    def _learn(
        self, own: _PeerStatus, peers: Sequence[_PeerStatus], users: Mapping[str, _User | None]
    ) -> Overlay:
        """Return what the answer says.

        Raises:
            ValueError: a field is not valid.
        """
        self._learn_nodes((own, *peers), users)
        return dataclasses.replace(self._of_nodes, peers=tuple(self._peers(peers)))

    def _tell_left_out(self, n: int, of: int) -> None:
        """Report that peers are left out, when that begins."""
        if n and not self.left_out:
            _log.warning(
                "%s: status: %d of %d peers have unexpected content: left out", self._socket, n, of
            )
        self.left_out = n

    def _ask(
        self, decoder: "msgspec.json.Decoder[Any] | _StatusDecoder", page: str, deadline_s: float
    ) -> Any:  # noqa: ANN401 - what the decoder makes
        answer = get(self._socket, HOST, f"/localapi/v0/{page}", deadline_s)
        try:
            return decoder.decode(answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            kind = type(error).__name__
            raise ValueError(f"{self._socket}: {page}: unexpected content: {kind}") from None

    def _offered(self, deadline_s: float) -> tuple[str, ...]:
        """Return the prefixes that this node offers to route."""
        found: _Preferences | None = None
        with contextlib.suppress(ValueError):  # an old tailscaled may refuse this page
            found = self._ask(_preferences, "prefs", deadline_s)
        return (found.offered if found is not None else None) or ()

    def _learn_regions(self, peers: Iterable[_PeerStatus], deadline_s: float) -> None:
        """Find the number of each region that relays a peer: the status has only its code."""
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

    def _learn_nodes(self, told: Sequence[_PeerStatus], users: Mapping[str, _User | None]) -> None:
        """Rebuild nodes whose traits have changed. From most answers to the next none has."""
        traits = tuple(_traits(one, users) for one in told)
        if traits == self._traits:
            return
        before = dict(zip(self._traits, self._known, strict=True))
        known = [before.get(each) or _Known.of(each) for each in traits]
        own = known[0].node
        peers = {
            ipaddress.ip_address(text): each.node
            for each in known[1:]
            for text in each.node.addresses
        }
        local = tuple(map(_network, own.addresses))
        routes = dict.fromkeys(network for each in known for network in each.networks)
        self._of_nodes = Overlay((), tuple(routes), local, NodeMap(own, peers))
        self._traits, self._known = traits, known

    def _peers(self, peers: Sequence[_PeerStatus]) -> Iterator[Peer]:
        """Yield a peer for each endpoint that belongs to exactly one."""
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
                yield Peer(endpoint, tuple(unique), _name(holder))

    def _claims(self, peers: Iterable[_PeerStatus]) -> Iterator[tuple[int, str, _PeerStatus]]:
        """Yield each peer's possible endpoints, with a rank: 0 is the most certain."""
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


def _is_whole(peer: _PeerStatus) -> bool:
    """Return whether every field of a peer that netlog reads is valid."""
    endpoints = (peer.endpoint, peer.peer_relay, *(peer.candidates or ()))
    try:
        known = _Known.of(_traits(peer, {}))
        for endpoint in filter(None, endpoints):
            Peer(_endpoint(endpoint), tuple(map(str, known.networks)), known.node.name)
    except ValueError:
        return False
    return True


def _relayed(peer: _PeerStatus) -> bool:
    """Return whether packets reach it over a relay. For an idle peer this is unknown: False."""
    return peer.active and not peer.endpoint and not peer.peer_relay and bool(peer.region)


def _traits(one: _PeerStatus, users: Mapping[str, _User | None]) -> _Traits:
    user = users.get(str(one.user_id))
    return _Traits(
        one.id,
        _name(one),
        one.addresses or (),
        one.os,
        user.login_name if user is not None else "",
        one.tags or (),
        (*(one.primary_routes or ()), *(one.allowed_ips or ())),
    )


def _name(one: _PeerStatus) -> str:
    return one.dns_name.rstrip(".") or one.host_name


def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def _endpoint(text: str) -> str:
    """Normalise an endpoint, without a peer relay's tunnel number and without a zone.

    A zone is a matter of routing; packets of all zones belong to the same peer.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise ValueError("expected address:port")
    address, port = split_endpoint(f"{match[1]}:{match[2]}")
    return join_endpoint(str(address).partition("%")[0], port)
