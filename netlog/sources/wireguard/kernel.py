"""Asks the kernel for the peers of a WireGuard interface, over generic netlink.

The answer contains the interface's private key, which is not read.

Source: include/uapi/linux/wireguard.h, include/uapi/linux/genetlink.h
"""

import ipaddress
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

from netlog.model.addresses import join_endpoint
from netlog.model.routes import Network
from netlog.netlink.messages import (
    DONE,
    DUMP,
    DUMP_INTERRUPTED,
    attribute,
    attributes,
    messages,
    received,
    request,
)
from netlog.sources.wireguard.peers import KEY_BYTES, Told

__all__ = ["ask_kernel", "parse_dump"]

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
FAMILY = b"wireguard"
WG_CMD_GET_DEVICE, WG_GENL_VERSION = 0, 1
WGDEVICE_A_IFNAME, WGDEVICE_A_PEERS = 2, 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_ENDPOINT, WGPEER_A_LAST_HANDSHAKE_TIME = 1, 4, 6
WGPEER_A_ALLOWEDIPS = 9
WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 2, 3
NS_PER_S = 1_000_000_000
_GENERIC = struct.Struct("=BBxx")  # genlmsghdr: command, version
_SOCKADDR = struct.Struct("=H2s4s")  # sockaddr_in: family, port, address
_TIMESPEC = struct.Struct("=qq")  # __kernel_timespec: seconds, nanoseconds
_SOCKADDR_6 = struct.Struct("=H2s4x16s")  # sockaddr_in6, without its scope


def ask_kernel(interface: str, timeout_s: float) -> list[Told]:
    """Ask for the peers of an interface of this network namespace.

    Args:
        interface: its name.
        timeout_s: for all of it.

    Returns:
        Its peers.

    Raises:
        OSError: there is none, it is not the kernel's, a right is missing (CAP_NET_ADMIN), or the
            answer does not come in time.
        ValueError: what came is no answer.

    Thread safety: any thread.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as netlink:
        pieces = received(netlink, time.monotonic() + timeout_s)
        family = _family(netlink, pieces)
        name = attribute(WGDEVICE_A_IFNAME, os.fsencode(interface) + b"\0")
        question = request(family, _GENERIC.pack(WG_CMD_GET_DEVICE, WG_GENL_VERSION) + name, DUMP)
        while True:
            netlink.send(question)
            told = parse_dump(pieces)
            if told is not None:
                return told


def _family(netlink: socket.socket, pieces: Iterator[bytes]) -> int:
    """The number under which the kernel has the family, which differs from one boot to the next."""
    name = attribute(CTRL_ATTR_FAMILY_NAME, FAMILY + b"\0")
    netlink.send(request(GENL_ID_CTRL, _GENERIC.pack(CTRL_CMD_GETFAMILY, 1) + name))
    for _, _, body in messages(next(pieces)):
        for kind, value in attributes(body[_GENERIC.size :]):
            if kind == CTRL_ATTR_FAMILY_ID and len(value) == 2:  # noqa: PLR2004 - 16 bits
                return int.from_bytes(value, sys.byteorder)
    raise ValueError("the kernel's answer does not name the family")


def parse_dump(pieces: Iterator[bytes]) -> list[Told] | None:
    """Read the answer to WG_CMD_GET_DEVICE.

    Args:
        pieces: the pieces of the answer; they are taken up to the end of the dump.

    Returns:
        The peers; one that is told of in several messages is one. None: the interface was changed
        meanwhile, so that it has to be asked again.

    Raises:
        OSError: the kernel refused.
        ValueError: it is none.
    """
    told: dict[bytes, Told] = {}
    whole = True
    for data in pieces:
        for kind, flags, body in messages(data):
            whole = whole and not flags & DUMP_INTERRUPTED
            if kind == DONE:
                return list(told.values()) if whole else None
            for name, value in attributes(body[_GENERIC.size :]):
                if name == WGDEVICE_A_PEERS:
                    for _, peer in attributes(value):
                        _take(told, peer)
    raise ValueError("the answer ends in the middle")


def _take(told: dict[bytes, Told], peer: bytes) -> None:
    """Note what is told of a peer: the first time all, then the rest of its allowed IPs."""
    found = dict(attributes(peer))
    key = found.get(WGPEER_A_PUBLIC_KEY, b"")
    if len(key) != KEY_BYTES:
        raise ValueError("a peer has no key")
    known = told.setdefault(key, Told(key))
    if WGPEER_A_ENDPOINT in found:
        known.endpoint = _endpoint(found[WGPEER_A_ENDPOINT])
    moment = found.get(WGPEER_A_LAST_HANDSHAKE_TIME, b"")
    if len(moment) == _TIMESPEC.size:
        seconds, nanoseconds = _TIMESPEC.unpack(moment)
        known.handshake_ns = seconds * NS_PER_S + nanoseconds
    for _, allowed in attributes(found.get(WGPEER_A_ALLOWEDIPS, b"")):
        known.allowed[_network(dict(attributes(allowed)))] = None


def _endpoint(address: bytes) -> str:
    family = int.from_bytes(address[:2], sys.byteorder)
    layouts: dict[int, struct.Struct] = {socket.AF_INET: _SOCKADDR, socket.AF_INET6: _SOCKADDR_6}
    layout = layouts.get(family)
    if layout is None or len(address) < layout.size:
        raise ValueError("an endpoint is none")
    _, port, packed = layout.unpack_from(address)
    return join_endpoint(str(ipaddress.ip_address(packed)), int.from_bytes(port, "big"))


def _network(attributes: dict[int, bytes]) -> Network:
    packed = attributes.get(WGALLOWEDIP_A_IPADDR, b"")
    length = attributes.get(WGALLOWEDIP_A_CIDR_MASK, b"")
    if len(packed) not in (4, 16) or len(length) != 1:
        raise ValueError("an allowed IP is none")
    return ipaddress.ip_network((packed, length[0]), strict=False)
