"""An answer of WireGuard's UAPI socket: an overlay, or ValueError."""

import contextlib
from collections.abc import Iterator

from netlog.sources.wireguard.peers import overlay_of
from netlog.sources.wireguard.source import parse_peers

PEER = (
    b"public_key=%064x\npreshared_key=%064x\nprotocol_version=1\nendpoint=%s\n"
    b"last_handshake_time_sec=%d\nlast_handshake_time_nsec=5\ntx_bytes=1\nrx_bytes=2\n"
    b"persistent_keepalive_interval=0\nallowed_ip=10.0.0.%d/32\nallowed_ip=fd00::%d/128\n"
)


def seeds() -> Iterator[bytes]:
    """No peer; peers with one endpoint; a default route; an error."""
    head = b"private_key=%064x\nlisten_port=51820\n" % 7
    yield head + b"errno=0\n\n"
    yield (
        head
        + b"".join(
            PEER % (key, 0, endpoint, key, key, key)
            for key, endpoint in enumerate((b"192.0.2.1:1", b"192.0.2.1:1", b"[2001:db8::1]:9"), 1)
        )
        + b"errno=0\n\n"
    )
    yield head + PEER % (9, 9, b"[fe80::1%eth0]:9", 9, 9, 9) + b"allowed_ip=0.0.0.0/0\nerrno=0\n\n"
    yield b"errno=-5\n\n"


def fuzz(data: bytes) -> None:
    """Read it."""
    with contextlib.suppress(ValueError):
        overlay_of(parse_peers(data), {})
