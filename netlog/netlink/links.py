"""The kernel's side of a gateway: addresses, routes, MTU and counters of its interfaces."""

import errno
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from netlog._closing import Closing
from netlog.errors import DeviceError, StateError

__all__ = ["LinkCounters", "Links"]

ADDR_GEN_NONE = 1
"""IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local address, so no router solicitations."""
NODAD = 0x02
"""IFA_F_NODAD of linux/if_addr.h: usable at once; in an overlay nobody answers the question."""
NUD_PERMANENT = 0x80
"""linux/neighbour.h."""
RTN_LOCAL = 2
"""linux/rtnetlink.h."""
ADDRESS_BOUND_S = 2.0
ADDRESS_LOOK_S = 0.001


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """The kernel's 64-bit counters of one interface, from the kernel's side.

    For a TUN, tx is what was read from its descriptor, rx what was written to it.
    """

    tx_packets: int
    tx_bytes: int
    rx_packets: int
    rx_bytes: int


class Links(Closing):
    """The interfaces of the network namespace that the calling thread is in.

    Raises:
        DeviceError: a netlink socket cannot be had.

    Thread safety: only the thread that made it may use it, and only in the namespace in which it
        did; pyroute2 would open another socket for another thread, in that thread's namespace.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._netlink: Any = self._ask("netlink", IPRoute)

    def close(self) -> None:
        """Close the netlink socket. Closing twice is fine."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def exists(self, name: str) -> bool:
        """Whether an interface of this name is there."""
        return bool(self._call(name, "link_lookup", ifname=name))

    def bring_up(self, name: str, *, mtu: int, addresses: Iterable[str]) -> None:
        """Give an interface its MTU and addresses and set it up; what it has already may stay.

        Args:
            name: the interface.
            mtu: bytes of the longest IP packet.
            addresses: text, each with the length of its prefix.

        Raises:
            DeviceError: the kernel refused; `filename` names the interface and what it was about.
        """
        index = self._index(name)
        self._call(f"{name}: mtu {mtu}", "link", "set", index=index, mtu=mtu)
        self._be_quiet(name, index)
        for text in addresses:
            address = ipaddress.ip_interface(text)
            self._call(
                f"{name}: address {text}",
                "addr",
                "replace",
                index=index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **({"flags": NODAD} if address.version == 6 else {}),  # noqa: PLR2004
            )
        self._call(name, "link", "set", index=index, state="up")

    def await_addresses(self, addresses: Iterable[str]) -> None:
        """Wait until the kernel accepts packets for these addresses, ADDRESS_BOUND_S at most.

        An IPv6 address gets its local route from a kernel thread, some time after it was added and
        its interface is up. Until then the kernel drops the packets that arrive for it.

        Args:
            addresses: as for `bring_up`.
        """
        deadline_s = time.monotonic() + ADDRESS_BOUND_S
        for text in addresses:
            address = str(ipaddress.ip_interface(text).ip)
            while not self._is_local(address) and time.monotonic() < deadline_s:
                time.sleep(ADDRESS_LOOK_S)

    def add_route(self, prefix: str, name: str, *, via: str | None = None) -> None:
        """Route a prefix to an interface. A route of somebody else is not touched.

        Args:
            prefix: text, without host bits.
            name: the interface.
            via: the address of the next hop; None if the interface leads there directly.

        Raises:
            DeviceError: the kernel refused, for one because the prefix has a route to another
                interface (EEXIST); `filename` names the route.
        """
        hop = {} if via is None else {"gateway": via}
        what = f"route {prefix} dev {name}"
        try:
            self._call(what, "route", "add", dst=prefix, oif=self._index(name), **hop)
        except DeviceError as error:
            first = prefix.partition("/")[0]
            if error.errno != errno.EEXIST or self.leads_to(first) != name:
                raise

    def add_pair(self, name: str, peer_name: str, peer_namespace: int) -> None:
        """Make a pair of interfaces (veth): one here, its peer in another namespace.

        Args:
            name: the interface here.
            peer_name: the interface there.
            peer_namespace: a descriptor of the namespace there.

        Raises:
            DeviceError: the kernel refused, for one because a name is in use.
        """
        peer = {"ifname": peer_name, "net_ns_fd": peer_namespace}
        self._call(name, "link", "add", ifname=name, kind="veth", peer=peer)

    def hardware_address(self, name: str) -> str:
        """The address of an interface on its own link, such as `02:00:00:00:00:01`."""
        (link,) = self._call(name, "link", "get", index=self._index(name))
        return str(link.get("address"))

    def add_neighbour(self, name: str, address: str, hardware_address: str) -> None:
        """Make a neighbour known for good, so that the kernel never asks for it.

        Raises:
            DeviceError: the kernel refused.
        """
        self._call(
            f"{name}: neighbour {address}",
            "neigh",
            "replace",
            ifindex=self._index(name),
            dst=address,
            lladdr=hardware_address,
            state=NUD_PERMANENT,
        )

    def leads_to(self, address: str) -> str | None:
        """Name the interface by which an address is reached; None if there is no route."""
        try:
            (route,) = self._call(f"route to {address}", "route", "get", dst=address)
            (link,) = self._call(f"route to {address}", "link", "get", index=route.get("oif"))
        except DeviceError:
            return None
        return str(link.get("ifname"))

    def counters(self, name: str) -> LinkCounters:
        """Read the kernel's counters of an interface (IFLA_STATS64).

        Raises:
            DeviceError: there is no such interface.
        """
        (link,) = self._call(name, "link", "get", index=self._index(name))
        stats = link.get("stats64")
        return LinkCounters(
            *(int(stats[field]) for field in ("tx_packets", "tx_bytes", "rx_packets", "rx_bytes"))
        )

    def _is_local(self, address: str) -> bool:
        """Whether a packet for this address would be taken in here."""
        try:
            (route,) = self._call(f"route to {address}", "route", "get", dst=address)
        except DeviceError:
            return False
        return bool(route.get("type") == RTN_LOCAL)

    def _be_quiet(self, name: str, index: int) -> None:
        """Have no link-local address made up, where the kernel has IPv6 at all."""
        family = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_NONE)]})]}
        try:
            self._call(name, "link", "set", index=index, IFLA_AF_SPEC=family)
        except DeviceError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise

    def _index(self, name: str) -> int:
        found = self._call(name, "link_lookup", ifname=name)
        if not found:
            raise DeviceError(errno.ENODEV, os.strerror(errno.ENODEV), name)
        return int(found[0])

    def _call(self, what: str, method: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401 - pyroute2's own
        if self._netlink is None or threading.get_ident() != self._thread:
            raise StateError("links: closed, or used by a thread that did not open them")
        return self._ask(what, lambda: getattr(self._netlink, method)(*arguments, **options))

    @staticmethod
    def _ask(what: str, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - pyroute2's own
        try:
            return question()
        except NetlinkError as error:
            raise DeviceError(error.code, str(error.args[1]), what) from error
        except DeviceError:
            raise
        except OSError as error:
            raise DeviceError(error.errno, str(error.strerror), what) from error
