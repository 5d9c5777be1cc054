"""A nodes file, in TOML or JSON as its first byte says: it is right, or ConfigError names it."""

from collections.abc import Iterator

from fuzz.parsers.scratch import scratch_folder
from netlog.config.node_file import NodeFile
from netlog.errors import ConfigError

TOML = b"""
[self]
node_id = "n1"
addresses = ["100.64.0.1"]
[[peers]]
node_id = "n2"
name = "db.example.ts.net"
addresses = ["100.64.0.2", "fd7a:115c:a1e0::2"]
os = "linux"
user = "user@example.com"
tags = ["tag:db"]
"""
JSON = b"""{"self": {"node_id": "n1", "addresses": ["100.64.0.1"]},
"peers": [{"node_id": "n2", "name": "db", "addresses": ["100.64.0.2"], "tags": ["tag:db"]}]}"""

_folder = scratch_folder()


def seeds() -> Iterator[bytes]:
    """One of each."""
    yield b"t" + TOML
    yield b"j" + JSON


def fuzz(data: bytes) -> None:
    """Read it."""
    path = _folder / ("nodes.json" if data[:1] == b"j" else "nodes.toml")
    path.write_bytes(data[1:])
    try:
        NodeFile(path).snapshot()
    except ConfigError as error:
        assert str(error).startswith(str(path))
