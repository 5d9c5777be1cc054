"""Netlink: requests and answers, with pyroute2 as the peer that does the same."""

import errno
import ipaddress
import struct
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink import ctrlmsg
from pyroute2.netlink.generic.wireguard import wgmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from netlog.netlink.interfaces import addresses_of, other_end
from netlog.netlink.messages import DUMP, attribute, attributes, messages, request

REQUEST = 1


def encoded(message: Any, kind: int, flags: int) -> bytes:  # noqa: ANN401 - pyroute2's own
    """A request as pyroute2 encodes it."""
    message["header"] |= {"type": kind, "flags": flags, "sequence_number": 1}
    message.encode()
    return bytes(message.data)


def test_requests_are_those_of_pyroute2() -> None:
    """To the byte: to find a family, to ask for a WireGuard interface, and for all addresses."""
    family = ctrlmsg()
    family["cmd"], family["version"] = 3, 1
    family["attrs"] = [["CTRL_ATTR_FAMILY_NAME", "wireguard"]]
    ours = request(16, struct.pack("=BBxx", 3, 1) + attribute(2, b"wireguard\0"))
    assert ours == encoded(family, 16, REQUEST)
    device = wgmsg()
    device["cmd"], device["version"] = 0, 1
    device["attrs"] = [["WGDEVICE_A_IFNAME", "wg0"]]
    ours = request(30, struct.pack("=BBxx", 0, 1) + attribute(2, b"wg0\0"), DUMP)
    assert ours == encoded(device, 30, REQUEST | DUMP)
    ours = request(22, struct.pack("=BBBBI", 0, 0, 0, 0, 0), DUMP)
    assert ours == encoded(ifaddrmsg(), 22, REQUEST | DUMP)


def test_addresses_are_those_of_pyroute2() -> None:
    """Of every interface of this machine."""
    with IPRoute() as netlink:
        told = list(netlink.get_addr())
    assert told
    for index in {each["index"] for each in told}:
        texts = [
            each.get("local") or each.get("address") for each in told if each["index"] == index
        ]
        expected = list(map(ipaddress.ip_address, texts))
        found = addresses_of(index)
        assert set(found) == {address for address in expected if not address.is_link_local}
        assert [address.version for address in found] == sorted(each.version for each in found)


def test_an_address_with_a_network_has_no_other_end() -> None:
    """Neither has one that nobody has."""
    assert other_end(ipaddress.ip_address("127.0.0.1")) is None
    assert other_end(ipaddress.ip_address("192.0.2.1")) is None


@pytest.mark.parametrize("cut", range(1, 16))
def test_what_is_cut_off_is_an_error(cut: int) -> None:
    """Whether it is a message or an attribute."""
    with pytest.raises(ValueError, match="a message is cut off"):
        list(messages(request(1, b"")[:cut]))
    with pytest.raises(ValueError, match="an attribute is cut off"):
        list(attributes((attribute(1, b"a" * 12) + attribute(2, b""))[: 16 - cut]))


def test_attributes_come_back() -> None:
    """With their values, whatever padding they have; flags are not part of the kind."""
    data = attribute(1, b"") + attribute(2 | 1 << 15, b"a") + attribute(3, b"abcd")
    assert list(attributes(data)) == [(1, b""), (2, b"a"), (3, b"abcd")]


def test_a_refusal_is_raised() -> None:
    """With the kernel's errno."""
    refusal = struct.pack("=IHHIIi", 20, 2, 0, 1, 1, -errno.ENODEV)
    with pytest.raises(OSError, match="No such device"):
        list(messages(refusal))
