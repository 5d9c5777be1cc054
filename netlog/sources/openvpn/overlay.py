"""Turn the status of an OpenVPN server, or the state of a client, into an overlay."""

import ipaddress
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netlog.model.addresses import IPAddress, parse_address
from netlog.model.nodes import Node, NodeMap
from netlog.model.peers import ANY_PORT, Peer
from netlog.model.routes import Network
from netlog.model.wire import well_formed
from netlog.netlink.interfaces import other_end
from netlog.sources.base import Overlay
from netlog.sources.openvpn.status import Client, Routed, Status, read_endpoint

__all__ = ["SharedNames", "State", "client_overlay", "overlay_of", "parse_state"]

MAX_NAME_CHARACTERS = 256
"""Limit for a node's name. Certificates have at most 64; a node in a message has room for three
names of this length."""
MAX_SHARED = 65536
APART = "#"
"""Separates a shared name from the address that makes the node's id unique."""


class SharedNames:
    """Names that several clients had at once. They stay shared when all but one client have left.

    Otherwise a client's id would change when another client with its name comes or goes.

    Thread safety: one thread at a time.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def take(self, names: Iterable[str]) -> Mapping[str, None]:
        """Add the names that occur more than once, and return all shared names."""
        for name, times in Counter(names).items():
            if times > 1:
                self._names[name] = None
        while len(self._names) > MAX_SHARED:
            del self._names[next(iter(self._names))]
        return self._names


@dataclass(frozen=True, slots=True)
class State:
    """What a daemon reports about itself.

    Attributes:
        local_addrs: its own addresses in the overlay.
        remote: a client's other endpoint, its server; "": none.
    """

    local_addrs: tuple[IPAddress, ...] = ()
    remote: str = ""


def parse_state(line: bytes) -> State:
    """Parse the answer to `state`.

    Args:
        line: time, state, description, own IPv4 address in the overlay, remote address and port,
            local address and port, own IPv6 address; fields at the end may be missing.

    Returns:
        What the line says; an empty state while the daemon is not connected.

    Raises:
        ValueError: the line is not valid; the text contains nothing of it.

    Thread safety: any thread.
    """
    fields = line.decode("utf-8", "replace").split(",")
    if len(fields) < 2:  # noqa: PLR2004 - a time and a state
        raise ValueError("state: expected a time and a state")
    _, state, _, local, host, port, _, _, local_6 = (*fields, *[""] * 9)[:9]
    if state != "CONNECTED":
        return State()
    try:
        own = tuple(parse_address(text) for text in (local, local_6) if text)
        remote = read_endpoint(f"[{host}]:{port}") if host and port else ""
    except ValueError:
        raise ValueError("state: expected addresses") from None
    return State(own, remote)


def overlay_of(status: Status, state: State, shared: SharedNames) -> Overlay:
    """Return the overlay as a server knows it.

    Args:
        status: its clients and routing table.
        state: what it reports about itself.
        shared: names that several clients had at once; this status's shared names are added.

    Returns:
        A peer for each client with an endpoint of its own, everything that is reached through
        clients as routes, and a node for each client. The order of the tables makes no difference.

    Thread safety: one thread at a time.
    """
    clients = sorted(status.clients, key=lambda client: (client.number, client.real, client.name))
    reached = _reached(clients, status.routes)
    # Not only networks that were assigned to a client: if it is not clear whose network it is, it
    # is still a route.
    routes = {routed.network for routed in status.routes}
    routes.update(network for one in reached for network in one.networks)
    return Overlay(
        peers=_peers(clients, reached),
        routes=tuple(sorted(routes, key=_order)),
        local_addrs=tuple(ipaddress.ip_network(address) for address in state.local_addrs),
        nodes=_nodes(clients, reached, shared),
    )


def client_overlay(state: State) -> Overlay:
    """Return the overlay as a client knows it, or either end of a point-to-point tunnel.

    Args:
        state: what it reports about itself.

    Returns:
        Its own addresses; and the other end, if the kernel knows its address.

    Raises:
        OSError: the kernel cannot be asked.

    Thread safety: any thread, in the network namespace of the daemon.
    """
    others = [other_end(address) for address in state.local_addrs]
    allowed = tuple(str(other) for other in others if other is not None)
    known = allowed and state.remote
    return Overlay(
        # A peer without an overlay address adds nothing, and would hide one from the user's
        # configuration with the same endpoint.
        peers=(Peer(state.remote, allowed),) if known else (),
        routes=tuple(map(ipaddress.ip_network, allowed)),
        local_addrs=tuple(map(ipaddress.ip_network, state.local_addrs)),
    )


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


@dataclass(frozen=True, slots=True)
class _Reached:
    """What is reached through a client: its own addresses, and these plus the networks behind."""

    own: tuple[IPAddress, ...]
    networks: tuple[Network, ...]


def _reached(clients: Sequence[Client], routes: Iterable[Routed]) -> list[_Reached]:
    bearers = Counter((client.name, client.real) for client in clients)
    told: dict[tuple[str, str], list[Routed]] = {}
    for routed in sorted(routes, key=lambda routed: _order(routed.network)):
        told.setdefault((routed.name, routed.real), []).append(routed)
    reached = []
    for client in clients:
        who = client.name, client.real
        # If the status has no port, two clients can have the same name and address. Then it is not
        # known whose routes these are.
        mine = told.get(who, []) if bearers[who] == 1 else []
        hosts = [one.network.network_address for one in mine if one.own]
        own = tuple(dict.fromkeys((*client.addresses, *hosts)))
        behind = [one.network for one in mine if not one.own]
        networks = dict.fromkeys((*map(ipaddress.ip_network, own), *behind))
        reached.append(_Reached(own, tuple(networks)))
    return reached


def _peers(clients: Sequence[Client], reached: Sequence[_Reached]) -> tuple[Peer, ...]:
    bearers = Counter(client.endpoint for client in clients)
    found: dict[str, Peer] = {}
    for client, through in zip(clients, reached, strict=True):
        # If several clients share an address and the status has no port, it is not known whose
        # datagrams come from there.
        any_port = client.endpoint.endswith(f":{ANY_PORT}")
        if through.networks and (bearers[client.endpoint] == 1 or not any_port):
            allowed = tuple(map(str, through.networks))
            name = well_formed(client.name)
            found[client.endpoint] = Peer(client.endpoint, allowed, name, any_port)
    return tuple(found[endpoint] for endpoint in sorted(found))


def _nodes(clients: Sequence[Client], reached: Sequence[_Reached], shared: SharedNames) -> NodeMap:
    names = [_clean(client.name) for client in clients]
    several = shared.take(names)
    by_address: dict[IPAddress, Node] = {}
    for client, name, through in zip(clients, names, reached, strict=True):
        own, user = through.own, _clean(client.user)
        if not own or not name or max(len(name), len(user)) > MAX_NAME_CHARACTERS:
            continue
        # A name that contains "#" also gets the suffix: it could equal another node's id.
        apart = name in several or APART in name
        node = Node(
            f"{name}{APART}{own[0]}" if apart else name,
            name,
            own,
            user="" if user == name else user,
        )
        by_address |= dict.fromkeys(own, node)
    return NodeMap(None, by_address)


def _clean(name: str) -> str:
    """Return a name fit for messages: control characters are replaced, as OpenVPN does itself."""
    return "".join("_" if unicodedata.category(one) == "Cc" else one for one in well_formed(name))
