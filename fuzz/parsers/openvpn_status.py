"""A status of OpenVPN, of any of its versions: an overlay, or ValueError."""

import contextlib
from collections.abc import Iterator

from netlog.sources.openvpn.overlay import SharedNames, State, overlay_of
from netlog.sources.openvpn.status import parse_status

STATUS_1 = b"""\
OpenVPN CLIENT LIST
Updated,2026-02-28 00:00:00
Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since
alice,192.0.2.1:1194,1,2,2026-02-28 00:00:00
UNDEF,[2001:db8::1]:99,0,0,2026-02-28 00:00:00
ROUTING TABLE
Virtual Address,Common Name,Real Address,Last Ref
10.8.0.2,alice,192.0.2.1:1194,2026-02-28 00:00:00
10.9.0.0/24,alice,192.0.2.1:1194,2026-02-28 00:00:00
10.8.0.3C,alice,192.0.2.1:1194,2026-02-28 00:00:00
GLOBAL STATS
Max bcast/mcast queue length,0
END
"""
STATUS_2 = b"""\
TITLE,OpenVPN 2.6.3 x86_64-pc-linux-gnu
TIME,2026-02-28 00:00:00,1772236800
HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,\
Bytes Sent,Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher
CLIENT_LIST,bob,udp4:192.0.2.9:1,10.8.0.9,fd00::9,3,4,2026-02-28 00:00:00,1772236800,UNDEF,0,0,X
HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)
ROUTING_TABLE,10.8.0.9,bob,udp4:192.0.2.9:1,2026-02-28 00:00:00,1772236800
ROUTING_TABLE,fd00::9,bob,udp4:192.0.2.9:1,2026-02-28 00:00:00,1772236800
GLOBAL_STATS,Max bcast/mcast queue length,0
END
"""


def seeds() -> Iterator[bytes]:
    """Each version, and the line ends of another system."""
    yield STATUS_1
    yield STATUS_2
    yield STATUS_2.replace(b",", b"\t")
    yield STATUS_2.replace(b"\n", b"\r\n")


def fuzz(data: bytes) -> None:
    """Read it as a status file."""
    with contextlib.suppress(ValueError):
        status = parse_status(data)
        overlay_of(status, State(), SharedNames())
