"""WireGuard of the kernel: its answers, as pyroute2's own classes encode them."""

import base64
import errno
import ipaddress
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.wireguard import wgmsg

from netlog import Peer
from netlog.netlink.messages import DUMP_INTERRUPTED
from netlog.sources import WireGuardSource
from netlog.sources.wireguard.kernel import ask_kernel, parse_dump
from netlog.sources.wireguard.peers import Told, overlay_of

KEYS = [bytes((number,)) * 32 for number in range(1, 4)]
NLM_F_MULTI, FAMILY = 2, 30
DONE = struct.pack("=IHHIIi", 20, 3, NLM_F_MULTI, 1, 1, 0)


def allowed(prefix: str) -> dict[str, Any]:
    """An allowed IP."""
    network = ipaddress.ip_network(prefix)
    return {
        "attrs": [
            ["WGALLOWEDIP_A_FAMILY", 2 if network.version == 4 else 10],
            ["WGALLOWEDIP_A_IPADDR", network.network_address.packed],
            ["WGALLOWEDIP_A_CIDR_MASK", network.prefixlen],
        ]
    }


def peer(
    key: bytes, *prefixes: str, endpoint: tuple[str, int] | None = None, handshake_s: int = 1
) -> dict[str, Any]:
    """A peer as the kernel tells of it the first time, with all that is none of ours."""
    attributes: list[list[Any]] = [
        ["WGPEER_A_PUBLIC_KEY", base64.b64encode(key)],
        ["WGPEER_A_PRESHARED_KEY", base64.b64encode(os.urandom(32))],
        ["WGPEER_A_LAST_HANDSHAKE_TIME", {"tv_sec": handshake_s, "tv_nsec": 2}],
        ["WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", 25],
        ["WGPEER_A_TX_BYTES", 1],
        ["WGPEER_A_RX_BYTES", 2],
        ["WGPEER_A_PROTOCOL_VERSION", 1],
    ]
    if endpoint is not None:
        attributes.append(["WGPEER_A_ENDPOINT", {"addr": endpoint[0], "port": endpoint[1]}])
    attributes.append(["WGPEER_A_ALLOWEDIPS", [allowed(prefix) for prefix in prefixes]])
    return {"attrs": attributes}


def more(key: bytes, *prefixes: str) -> dict[str, Any]:
    """The same peer in the next message: nothing but the rest of its allowed IPs."""
    prefixes_of_it = [allowed(prefix) for prefix in prefixes]
    return {
        "attrs": [
            ["WGPEER_A_PUBLIC_KEY", base64.b64encode(key)],
            ["WGPEER_A_ALLOWEDIPS", prefixes_of_it],
        ]
    }


def message(*peers: dict[str, Any], flags: int = NLM_F_MULTI) -> bytes:
    """One message of a dump."""
    made = wgmsg()
    made["header"]["type"], made["header"]["flags"] = FAMILY, flags
    made["attrs"] = [
        ["WGDEVICE_A_IFNAME", "wg0"],
        ["WGDEVICE_A_PRIVATE_KEY", base64.b64encode(os.urandom(32))],
        ["WGDEVICE_A_LISTEN_PORT", 51820],
    ]
    if peers:
        made["attrs"].append(["WGDEVICE_A_PEERS", list(peers)])
    made.encode()
    return bytes(made.data)


FIRST = message(
    peer(KEYS[0], "100.64.0.7/32", "10.7.0.0/16", endpoint=("192.0.2.7", 51820)),
    peer(KEYS[1], "fd7a:115c:a1e0::8/128", endpoint=("2001:db8::8", 51821)),
)
SECOND = message(
    more(KEYS[1], "10.8.0.0/16", "0.0.0.0/0"), peer(KEYS[2], "100.64.0.9/32"), peer(bytes(32))
)
EXPECTED = [
    ("192.0.2.7:51820", ["100.64.0.7/32", "10.7.0.0/16"]),
    ("[2001:db8::8]:51821", ["fd7a:115c:a1e0::8/128", "10.8.0.0/16", "0.0.0.0/0"]),
    ("", ["100.64.0.9/32"]),
    ("", []),
]


def read(*received: bytes) -> list[tuple[str, list[str]]]:
    """Endpoint and allowed IPs of each peer."""
    told = parse_dump(iter(received))
    assert told is not None
    return [(one.endpoint, list(map(str, one.allowed))) for one in told]


@pytest.mark.parametrize(
    "received",
    [(FIRST, SECOND, DONE), (FIRST + SECOND + DONE,), (FIRST + SECOND, DONE)],
    ids=["each", "one", "two"],
)
def test_a_peer_in_several_messages_is_one(received: tuple[bytes, ...]) -> None:
    """Its allowed IPs are those of all messages, however they come together."""
    assert read(*received) == EXPECTED


def test_pyroute2_reads_the_same() -> None:
    """What the tests encode is what pyroute2 decodes: endpoint and allowed IPs of each peer."""
    decoded = []
    for data in (FIRST, SECOND):
        made = wgmsg(data)
        made.decode()
        for one in made.get_attr("WGDEVICE_A_PEERS"):
            at = one.get_attr("WGPEER_A_ENDPOINT")
            prefixes = [each["addr"] for each in one.get_attr("WGPEER_A_ALLOWEDIPS") or ()]
            key = base64.b64decode(one.get_attr("WGPEER_A_PUBLIC_KEY"))
            decoded.append((key, (at["addr"], at["port"]) if at else None, prefixes))
    assert decoded == [
        (KEYS[0], ("192.0.2.7", 51820), EXPECTED[0][1]),
        (KEYS[1], ("2001:db8::8", 51821), EXPECTED[1][1][:1]),
        (KEYS[1], None, EXPECTED[1][1][1:]),
        (KEYS[2], None, EXPECTED[2][1]),
        (bytes(32), None, []),
    ]


def test_the_overlay_of_an_answer() -> None:
    """It is that of the UAPI socket: the same peers have the same names."""
    told = parse_dump(iter((FIRST, SECOND, DONE)))
    assert told is not None
    overlay = overlay_of(told, {base64.b64encode(KEYS[0]).decode(): "seven"})
    assert overlay.peers[0] == Peer("192.0.2.7:51820", ("100.64.0.7/32", "10.7.0.0/16"), "seven")
    assert overlay.nodes is not None
    assert len(overlay.nodes.by_address) == 3


def test_an_interface_without_peers_or_attributes() -> None:
    """There is nobody."""
    assert read(message(), DONE) == []
    assert read(DONE) == []


def test_one_that_changes_in_the_middle_is_asked_again() -> None:
    """Half of before and half of after is no answer."""
    changed = message(peer(KEYS[2]), flags=NLM_F_MULTI | DUMP_INTERRUPTED)
    assert parse_dump(iter((FIRST, changed, DONE))) is None


@pytest.mark.parametrize("kind", [2, 3], ids=["error", "done"])
def test_a_refusal_is_an_os_error(kind: int) -> None:
    """As a message of its own, or in the one that ends the dump."""
    refusal = struct.pack("=IHHIIi", 20, kind, 0, 1, 1, -errno.ENODEV)
    with pytest.raises(OSError, match="No such device") as caught:
        parse_dump(iter((FIRST, refusal)))
    assert caught.value.errno == errno.ENODEV


def test_an_error_number_that_does_not_exist_is_no_answer() -> None:
    """Its text cannot be looked up, and its negation need not fit into an int."""
    for number in (-(2**31), -4096):
        refusal = struct.pack("=IHHIIi", 20, 2, 0, 1, 1, number)
        with pytest.raises(ValueError, match="an error number that does not exist"):
            parse_dump(iter((refusal,)))


@pytest.mark.parametrize(
    ("handshakes_s", "owner"),
    [((1700000000, 1600000000), 0), ((1600000000, 1700000000), 1), ((5, 5), None), ((0, 0), None)],
)
def test_an_endpoint_of_two_peers_is_the_newest_ones(
    handshakes_s: tuple[int, int], owner: int | None
) -> None:
    """A stale key of the same host does not take its traffic; if neither is newest, nobody does."""
    place = ("198.51.100.2", 5)
    peers = [
        peer(key, f"10.0.0.{number}/32", endpoint=place, handshake_s=moment)
        for number, (key, moment) in enumerate(zip(KEYS, handshakes_s, strict=False))
    ]
    told = parse_dump(iter((message(*peers), DONE)))
    assert told is not None
    found = [one.allowed_ips for one in overlay_of(told, {}).peers]
    assert found == ([] if owner is None else [(f"10.0.0.{owner}/32",)])
    assert len(overlay_of(told, {}).routes) == 2


def test_asking_where_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel is really asked; what is said names the interface and both places to look at."""
    with pytest.raises(OSError, match=r"."):
        ask_kernel("lo", 0.5)
    for interface in ("lo", "none"):
        with pytest.raises(FileNotFoundError) as caught:
            WireGuardSource(interface, folder=tmp_path).snapshot()
        assert f"{tmp_path}/{interface}.sock does not exist, and the kernel has no" in str(
            caught.value
        )
    assert not caplog.records


def parts(data: bytes) -> Iterator[bytes]:
    """Every beginning of an answer."""
    return (data[:end] for end in range(len(data)))


def test_a_part_of_an_answer_is_an_error() -> None:
    """Wherever it is cut off."""
    for part in parts(FIRST + SECOND + DONE[:-4]):
        with pytest.raises(ValueError, match=r"cut off|ends in the middle"):
            parse_dump(iter((part,)))


@given(st.data())
def test_a_damaged_answer_makes_no_other_error(data: st.DataObject) -> None:
    """It is peers, an OSError or a ValueError."""
    answer = bytearray(FIRST + SECOND + DONE)
    for _ in range(data.draw(st.integers(1, 4))):
        answer[data.draw(st.integers(0, len(answer) - 1))] = data.draw(st.integers(0, 255))
    try:
        told = parse_dump(iter((bytes(answer),)))
    except (OSError, ValueError):
        return
    assert told is None or all(isinstance(one, Told) for one in told)
