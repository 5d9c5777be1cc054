"""Nodes from a file, TOML or JSON, that is read again when it changes."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from netlog.config.reading import convert, parse_toml, read_text
from netlog.config.values import Address, Text
from netlog.errors import ConfigError
from netlog.model.nodes import Node, NodeMap, StaticNodes

__all__ = ["NodeFile"]

_log = logging.getLogger("netlog")


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    node_id: Text
    name: str = ""
    addresses: tuple[Address, ...] = ()
    os: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    own: _Node = msgspec.field(name="self")
    peers: tuple[_Node, ...] = ()


class NodeFile:
    """The nodes that a file tells of.

    The file has a table `self` and a list of tables `peers`; their keys are the arguments of
    `Node`. A file that ends in `.json` is JSON, any other TOML:

        [self]
        node_id = "n1"
        addresses = ["100.64.0.1"]

        [[peers]]
        node_id = "n2"
        name = "db.example.ts.net"
        addresses = ["100.64.0.2", "fd7a:115c:a1e0::2"]
        tags = ["tag:db"]

    Args:
        path: the file; UTF-8.

    Raises:
        ConfigError: the file can not be read, is no TOML or JSON, or a key is wrong, missing or
            unknown; the text names the file, the key and what was expected.

    Thread safety: any thread.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._errors = 0
        self._signature = _signature(self._path)
        self._map = _read(self._path)

    @property
    def errors(self) -> int:
        """How often the file was found changed and could not be used: broken, or gone."""
        return self._errors

    def snapshot(self) -> NodeMap:
        """Who has which address, by the file as it is now.

        Returns:
            The same object as before, as long as the file is the same, and while it is broken or
            gone; that is told in the log once.
        """
        with self._lock:
            signature = _signature(self._path)
            if signature != self._signature:
                # What was read is at least as new as this: a change that comes while the file is
                # read is seen the next time.
                self._signature = signature
                try:
                    self._map = _read(self._path)
                except ConfigError as error:
                    self._errors += 1
                    _log.warning("nodes stay as they were: %s", error)
            return self._map


def _signature(path: Path) -> tuple[int, ...]:
    """What changes when the file does; a file that can not be looked at has one, too."""
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size


def _read(path: Path) -> NodeMap:
    """Read the file.

    Raises:
        ConfigError: it can not be used.
    """
    text = read_text(path)
    if path.suffix == ".json":
        try:
            tree = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: expected JSON: {error}") from error
    else:
        tree = parse_toml(text, str(path))
    file = convert(tree, _File, str(path))
    for wrong in _contradictions(file):
        raise ConfigError(f"{path}: {wrong}")
    nodes = []
    key = "file"
    try:
        for key, table in _tables(file):  # noqa: B007 - for the error
            nodes.append(Node(**msgspec.structs.asdict(table)))
        return StaticNodes(nodes[0], nodes[1:]).snapshot()
    except ValueError as error:
        raise ConfigError(f"{path}: {key}: {error}") from error


def _tables(file: _File) -> Iterator[tuple[str, _Node]]:
    yield "self", file.own
    for i, peer in enumerate(file.peers):
        yield f"peers[{i}]", peer


def _contradictions(file: _File) -> Iterator[str]:
    """Keys that are right each, but not together."""
    ids: dict[str, str] = {}
    owners: dict[str, str] = {}
    for key, node in _tables(file):
        if (first := ids.setdefault(node.node_id, key)) != key:
            yield (
                f"{key}.node_id: expected an id of its own, {node.node_id!r} is in "
                f"{first}.node_id too"
            )
        for i, address in enumerate(node.addresses):
            if (first := owners.setdefault(address, key)) != key:
                yield (
                    f"{key}.addresses[{i}]: expected an address of this node alone, {address!r} "
                    f"is in {first}.addresses too"
                )
