"""Four namespaces: gateway a, gateway b, a host in the subnet behind b, a host outside.

    a ---- underlay ---- b ---- lan ---- host in the subnet
    |                    |
    +.....overlay........+---- wan ---- host outside

The gateways' TUNs carry the overlay; what leaves a for the subnet or the outside goes through b.
"""

import contextlib
from dataclasses import dataclass

from netlog._closing import Closing
from netlog.demo.namespace import Namespace
from netlog.netlink.links import Links

__all__ = [
    "NODES",
    "PATHS",
    "PLACES",
    "UNDERLAY",
    "DemoNode",
    "Place",
    "Topology",
    "config_text",
]

TUN = "netlog0"
UNDERLAY = "underlay"
"""The interfaces of a gateway; they have the same names in both."""

PORT = 41641


@dataclass(frozen=True, slots=True)
class Place:
    """Where traffic begins and ends: a namespace and its addresses, IPv4 and IPv6."""

    name: str
    ipv4: str
    ipv6: str


@dataclass(frozen=True, slots=True)
class DemoNode:
    """A gateway: its place in the overlay, and its address on the underlay."""

    place: Place
    underlay: str


A = Place("a", "100.64.0.1", "fd7a:115c:a1e0::1")
B = Place("b", "100.64.0.2", "fd7a:115c:a1e0::2")
SUBNET = Place("subnet", "192.168.7.10", "fd00:7::10")
OUTSIDE = Place("outside", "203.0.113.10", "2001:db8:113::10")
PLACES = (A, B, SUBNET, OUTSIDE)
PATHS = ((A, B), (B, A), (A, SUBNET), (SUBNET, A), (A, OUTSIDE), (OUTSIDE, A))
"""Who asks whom: virtual, subnet and exit traffic, begun at either end."""
NODES = (DemoNode(A, "192.0.2.1"), DemoNode(B, "192.0.2.2"))

SUBNET_PREFIXES = ("192.168.7.0/24", "fd00:7::/64")
# b's interface, its addresses there, and whom it leads to
BEHIND_B = (
    ("lan", ("192.168.7.1", "fd00:7::1"), SUBNET),
    ("wan", ("203.0.113.1", "2001:db8:113::1"), OUTSIDE),
)


def config_text(node: DemoNode, poll_period_s: float) -> str:
    """The configuration of a gateway, as `netlog run` would read it from a file."""
    a, b = NODES
    other = b if node is a else a
    behind = [*SUBNET_PREFIXES, "0.0.0.0/0", "::/0"] if node is a else []
    allowed_ips = [other.place.ipv4, other.place.ipv6, *behind]
    return f"""
poll_period_s = {poll_period_s}
exit_traffic = "{"log" if node is a else "aggregate"}"
max_flows = 4096

[node]
id = "{node.place.name}"

[tun]
name = "{TUN}"
addresses = ["{node.place.ipv4}/32", "{node.place.ipv6}/128"]
mtu = 1280
# The kernel counts super-packets as one; the demo puts its counters beside the messages.
offload = false

[sock]
listen = "{node.underlay}:{PORT}"

[[peers]]
name = "{other.place.name}"
endpoint = "{other.underlay}:{PORT}"
allowed_ips = {allowed_ips}

[routes]
subnets = {list(SUBNET_PREFIXES) if node is b else []}
default = {str(node is a).lower()}
"""


class Topology(Closing):
    """The namespaces, with all links and routes but those of the TUNs, which the gateways make.

    Raises:
        OSError: namespaces or links cannot be made.

    Thread safety: one thread makes and closes it; `namespaces` may be used from any.
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            self.namespaces = {place.name: stack.enter_context(Namespace()) for place in PLACES}
            self._links = {}
            for name, namespace in self.namespaces.items():
                with namespace.entered():
                    self._links[name] = stack.enter_context(Links())
                    self._links[name].bring_up("lo", mtu=65536, addresses=())
            self._make_underlay()
            self._make_networks_behind_b()
            self._stack = stack.pop_all()

    def links(self, place: Place) -> Links:
        """The interfaces of a place; for the thread that made the topology."""
        return self._links[place.name]

    def close(self) -> None:
        """Let go of every namespace."""
        self._stack.close()

    def _make_underlay(self) -> None:
        """A link that carries the gateways' datagrams and nothing else.

        No IPv6, hence no neighbour or multicast chatter, and both IPv4 neighbours are known for
        good: so the link's own counters are those of the datagrams.
        """
        self._join(A, UNDERLAY, B, UNDERLAY)
        for node in NODES:
            self.namespaces[node.place.name].set(f"net/ipv6/conf/{UNDERLAY}/disable_ipv6", 1)
        for node in NODES:
            addresses = (f"{node.underlay}/24",)
            self.links(node.place).bring_up(UNDERLAY, mtu=1500, addresses=addresses)
        for node, other in (NODES, NODES[::-1]):
            hardware = self.links(other.place).hardware_address(UNDERLAY)
            self.links(node.place).add_neighbour(UNDERLAY, other.underlay, hardware)

    def _make_networks_behind_b(self) -> None:
        b = self.namespaces[B.name]
        b.set("net/ipv4/ip_forward", 1)
        b.set("net/ipv6/conf/all/forwarding", 1)
        for interface, (ipv4, ipv6), place in BEHIND_B:
            self._join(B, interface, place, interface)
            self.links(B).bring_up(interface, mtu=1500, addresses=(f"{ipv4}/24", f"{ipv6}/64"))
            here = self.links(place)
            here.bring_up(interface, mtu=1500, addresses=(f"{place.ipv4}/24", f"{place.ipv6}/64"))
            here.add_route("0.0.0.0/0", interface, via=ipv4)
            here.add_route("::/0", interface, via=ipv6)
            # Without link-local addresses b could not ask for the IPv6 neighbours it forwards to.
            here.add_neighbour(interface, ipv6, self.links(B).hardware_address(interface))
            hardware = here.hardware_address(interface)
            self.links(B).add_neighbour(interface, place.ipv6, hardware)
            self.links(B).await_addresses((f"{ipv4}/24", f"{ipv6}/64"))
            here.await_addresses((f"{place.ipv4}/24", f"{place.ipv6}/64"))

    def _join(self, left: Place, left_name: str, right: Place, right_name: str) -> None:
        self.links(left).add_pair(left_name, right_name, self.namespaces[right.name].fd)
