"""What a tailscaled says of a network of three nodes, for the tests."""

import copy
import os
from typing import Any

from netlog import Node

SECRET = os.urandom(32).hex()
# As tailscaled 1.94 beside a headscale 0.28 says it, shortened.
LAPTOP: dict[str, Any] = {
    "ID": "1",
    "PublicKey": "nodekey:236d",
    "HostName": "laptop",
    "DNSName": "laptop.tail.example.",
    "OS": "linux",
    "UserID": 1,
    "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"],
    "AllowedIPs": ["100.64.0.1/32", "fd7a:115c:a1e0::1/128"],
    "Addrs": ["192.0.2.1:41641"],
    "CurAddr": "",
    "Relay": "here",
    "PeerRelay": "",
    "RxBytes": 0,
    "Active": False,
    "CapMap": {"https://tailscale.com/cap/ssh": []},
}
GATE: dict[str, Any] = LAPTOP | {
    "ID": "2",
    "HostName": "gate",
    "DNSName": "gate.tail.example.",
    "UserID": 2147455555,
    "TailscaleIPs": ["100.64.0.2", "fd7a:115c:a1e0::2"],
    "AllowedIPs": ["10.7.0.0/24", "100.64.0.2/32", "fd7a:115c:a1e0::2/128"],
    "Tags": ["tag:gate"],
    "PrimaryRoutes": ["10.7.0.0/24"],
    "Addrs": None,
    "CurAddr": "192.0.2.2:41641",
    "Active": True,
}
PHONE: dict[str, Any] = LAPTOP | {
    "ID": "3",
    "HostName": "Bob's phone",
    "DNSName": "",
    "OS": "android",
    "UserID": 2,
    "TailscaleIPs": ["100.64.0.3"],
    "AllowedIPs": ["100.64.0.3/32"],
    "Addrs": None,
}
STATUS: dict[str, Any] = {
    "Version": "1.94.1",
    "BackendState": "Running",
    "AuthURL": f"https://example/{SECRET}",
    "Self": LAPTOP,
    "Peer": {"nodekey:a4be": GATE, "nodekey:b000": PHONE},
    "User": {
        "1": {"ID": 1, "LoginName": "alice"},
        "2": {"ID": 2, "LoginName": "bob@example"},
        "2147455555": {"ID": 2147455555, "LoginName": "tagged-devices"},
    },
}
DERP_MAP: dict[str, Any] = {
    "Regions": {"907": {"RegionID": 907, "RegionCode": "here", "Nodes": []}, "908": None}
}
NODES = {
    "1": Node("1", "laptop.tail.example", LAPTOP["TailscaleIPs"], "linux", "alice"),
    "2": Node("2", "gate.tail.example", GATE["TailscaleIPs"], "linux", tags=["tag:gate"]),
    "3": Node("3", "Bob's phone", PHONE["TailscaleIPs"], "android", "bob@example"),
}
GATE_ALLOWED = ("100.64.0.2/32", "fd7a:115c:a1e0::2/128", "10.7.0.0/24")


def changed(*path: str, value: object) -> dict[str, Any]:
    """The status with another value at a place."""
    status = copy.deepcopy(STATUS)
    place = status
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return status


def with_peers(*peers: dict[str, Any]) -> dict[str, Any]:
    """The status with these peers."""
    return STATUS | {"Peer": {f"nodekey:{number}": peer for number, peer in enumerate(peers)}}
