"""A WireGuard interface of the kernel, asked by generic netlink.

pyroute2 makes the questions and finds the family. The answer, which has all peers, is read here:
pyroute2 takes half a millisecond a peer, and netlog should not see the interface's private key.

Source: include/uapi/linux/wireguard.h
"""

import ipaddress
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from netlog.model.addresses import join_endpoint
from netlog.model.routes import Network
from netlog.sources.wireguard.peers import KEY_BYTES, Told

__all__ = ["ask_kernel", "parse_dump"]

MAX_ANSWER_BYTES = 16 << 20
ANSWER_BYTES = 1 << 17
"""A message of a dump is at most 32 KiB, unless the receiver takes more."""

NETLINK_GENERIC = 16
FAMILY = "wireguard"
GET_DEVICE, VERSION = 0, 1
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x10, 0x300
CTRL_ATTR_FAMILY_ID = 1
WGDEVICE_A_PEERS = 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_ENDPOINT, WGPEER_A_LAST_HANDSHAKE_TIME = 1, 4, 6
WGPEER_A_ALLOWEDIPS = 9
WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 2, 3
KIND = 0x3FFF
"""Of an attribute's type; the rest is flags."""
MAX_ERRNO = 4095
"""MAX_ERRNO of the kernel: what is beyond is not an error of its."""
NS_PER_S = 1_000_000_000
GENERIC_BYTES = 4
"""genlmsghdr, ahead of the attributes."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ERROR = struct.Struct("=i")  # nlmsgerr, and the end of a dump
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
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
    # Not before it is needed: it takes as long to import as all of netlog.
    from pyroute2.netlink import CTRL_CMD_GETFAMILY, GENL_ID_CTRL, ctrlmsg  # noqa: PLC0415
    from pyroute2.netlink.generic.wireguard import wgmsg  # noqa: PLC0415

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as netlink:
        received = _received(netlink, time.monotonic() + timeout_s)
        find = ctrlmsg()
        find["cmd"], find["version"] = CTRL_CMD_GETFAMILY, VERSION
        find["attrs"] = [["CTRL_ATTR_FAMILY_NAME", FAMILY]]
        netlink.send(_encoded(find, GENL_ID_CTRL, NLM_F_REQUEST))
        family = _family(next(received))
        ask = wgmsg()
        ask["cmd"], ask["version"] = GET_DEVICE, VERSION
        ask["attrs"] = [["WGDEVICE_A_IFNAME", interface]]
        question = _encoded(ask, family, NLM_F_REQUEST | NLM_F_DUMP)
        while True:
            netlink.send(question)
            told = parse_dump(received)
            if told is not None:
                return told


def _encoded(message: Any, kind: int, flags: int) -> bytes:  # noqa: ANN401 - pyroute2's own
    message["header"]["type"], message["header"]["flags"] = kind, flags
    message.encode()
    return bytes(message.data)


def _received(netlink: socket.socket, deadline_s: float) -> Iterator[bytes]:
    """All that comes, until a moment."""
    n_bytes = 0
    while True:
        netlink.settimeout(max(deadline_s - time.monotonic(), 0.001))
        data = netlink.recv(ANSWER_BYTES)
        n_bytes += len(data)
        if n_bytes > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        yield data


def _family(answer: bytes) -> int:
    for _, _, body in _messages(answer):
        for kind, value in _attributes(body[GENERIC_BYTES:]):
            if kind == CTRL_ATTR_FAMILY_ID and len(value) == 2:  # noqa: PLR2004 - 16 bits
                return int.from_bytes(value, sys.byteorder)
    raise ValueError("no answer of the kernel")


def parse_dump(received: Iterator[bytes]) -> list[Told] | None:
    """Read the answer to WG_CMD_GET_DEVICE.

    Args:
        received: what comes; taken up to the end of the dump.

    Returns:
        The peers; one that is told of in several messages is one. None: the interface was changed
        meanwhile, so that it has to be asked again.

    Raises:
        OSError: the kernel refused.
        ValueError: it is none.
    """
    told: dict[bytes, Told] = {}
    whole = True
    for data in received:
        for kind, flags, body in _messages(data):
            whole = whole and not flags & NLM_F_DUMP_INTR
            if kind == NLMSG_DONE:
                return list(told.values()) if whole else None
            for name, value in _attributes(body[GENERIC_BYTES:]):
                if name == WGDEVICE_A_PEERS:
                    for _, peer in _attributes(value):
                        _take(told, peer)
    raise ValueError("the answer ends in the middle")


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message."""
    while data:
        if len(data) < _HEADER.size:
            raise ValueError("a message is cut off")
        length, kind, flags, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise ValueError("a message is cut off")
        body = data[_HEADER.size : length]
        if kind in (NLMSG_ERROR, NLMSG_DONE) and len(body) >= _ERROR.size:
            (number,) = _ERROR.unpack_from(body)
            if number < -MAX_ERRNO:
                raise ValueError("the kernel's answer has an error number that does not exist")
            if number < 0:
                raise OSError(-number, os.strerror(-number))
        yield kind, flags, body
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        if len(data) < _ATTRIBUTE.size:
            raise ValueError("an attribute is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise ValueError("an attribute is cut off")
        yield kind & KIND, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _take(told: dict[bytes, Told], peer: bytes) -> None:
    """Note what is told of a peer: the first time all, then the rest of its allowed IPs."""
    found = dict(_attributes(peer))
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
    for _, allowed in _attributes(found.get(WGPEER_A_ALLOWEDIPS, b"")):
        known.allowed[_network(dict(_attributes(allowed)))] = None


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
