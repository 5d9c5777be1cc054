"""Nodes from a TOML or JSON file, which is read again when it changes."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from netlog.config.gateway import NodesConfig
from netlog.config.reading import all_errors, convert, parse_toml, read_text
from netlog.config.values import Address, Text
from netlog.errors import ConfigError
from netlog.model.nodes import Node, NodeMap, StaticNodes

__all__ = ["NodeFile", "open_node_file"]

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
    """The nodes of the overlay, from a file.

    The file has a table `self` and a list of tables `peers`. Their keys are the arguments of
    `Node`. A file whose name ends in `.json` is JSON; any other file is TOML:

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
        ConfigError: the file cannot be read or is not TOML or JSON, or a key is wrong, missing or
            unknown. The text names the file and the key, and says what was expected.

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
        """How often a changed file could not be used, because it was broken or missing."""
        return self._errors

    def snapshot(self) -> NodeMap:
        """The nodes by address, from the file as it is now.

        Returns:
            The same object as before if the file has not changed. While the file is broken or
            missing, the last map that could be read; the log says so once for each change.
        """
        with self._lock:
            signature = _signature(self._path)
            if signature != self._signature:
                # Take the signature first. If the file changes while it is read, the next call
                # sees another signature and reads it again.
                self._signature = signature
                try:
                    self._map = _read(self._path)
                except ConfigError as error:
                    self._errors += 1
                    _log.warning("keeping the nodes that were read before: %s", error)
            return self._map


def open_node_file(config: NodesConfig | None) -> NodeFile | None:
    """Read the nodes that a configuration names, if it names any.

    Raises:
        ConfigError: the file is wrong or missing. The text begins with the key.

    Thread safety: any thread.
    """
    if config is None:
        return None
    try:
        return NodeFile(config.file)
    except ConfigError as error:
        lines = (f"nodes.file: {line}" for line in str(error).split("\n"))
        raise ConfigError("\n".join(lines)) from error


def _signature(path: Path) -> tuple[int, ...]:
    """A value that changes when the file does; its errno if the file cannot be examined."""
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size


def _read(path: Path) -> NodeMap:
    """Read the file.

    Raises:
        ConfigError: the file cannot be used.
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
    if wrong := list(_contradictions(file)):
        raise all_errors(str(path), wrong)
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
    """Errors of keys that contradict each other."""
    ids: dict[str, str] = {}
    owners: dict[str, str] = {}
    for key, node in _tables(file):
        if (first := ids.setdefault(node.node_id, key)) != key:
            yield (
                f"{key}.node_id: expected a unique id, but {node.node_id!r} is also in "
                f"{first}.node_id"
            )
        for i, address in enumerate(node.addresses):
            if (first := owners.setdefault(address, key)) != key:
                yield (
                    f"{key}.addresses[{i}]: expected a unique address, but {address!r} is also in "
                    f"{first}.addresses"
                )
