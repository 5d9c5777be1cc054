"""What a configuration expects of the machine and of itself, beyond what its text can show.

Nothing is created or opened. A file's directory is looked at as the user who asks may see it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from netlog.config.external import ExecConfig, ExternalConfig
from netlog.config.file import AnyConfig
from netlog.config.relay import RelayConfig
from netlog.config.sinks import FileSinkConfig, RemoteSinkConfig
from netlog.config.sources import OpenVpnSourceConfig

__all__ = ["doubts", "lacks"]


def lacks(config: AnyConfig) -> Iterator[str]:
    """Errors: that for which `netlog run` would fail now.

    Thread safety: any thread.
    """
    for i, sink in enumerate(config.sinks):
        if isinstance(sink, FileSinkConfig):
            yield from _no_place(f"sinks[{i}].path", os.path.realpath(sink.path))
            if Path(sink.path).is_dir():
                yield f"sinks[{i}].path: expected a file, but {sink.path!r} is a directory"
        elif isinstance(sink, RemoteSinkConfig):
            yield from _no_place(f"sinks[{i}].spool", sink.spool)
            if Path(sink.spool).exists() and not Path(sink.spool).is_dir():
                yield f"sinks[{i}].spool: expected a directory, but {sink.spool!r} is a file"
    if config.meter is not None:
        # The gateway makes the meter's directory, but not the one above it.
        yield from _no_place("meter", str(Path(config.meter).parent))


def doubts(config: AnyConfig) -> Iterator[str]:
    """Warnings: what is valid and probably not meant.

    Thread safety: any thread.
    """
    if isinstance(config, RelayConfig):
        yield from _of_routes(config)
    else:
        yield from _of_overlays(config)
    for i, sink in enumerate(config.sinks):
        key = "path" if isinstance(sink, FileSinkConfig) else "spool"
        place = getattr(sink, key, None)
        if place is not None and _exists_and_is_locked(place):
            yield f"sinks[{i}].{key}: {place}: this user may not write there"


def _of_routes(config: RelayConfig) -> Iterator[str]:
    owners = {
        str(prefix): f"peers[{i}].allowed_ips[{j}]"
        for i, peer in enumerate(config.peers)
        for j, prefix in enumerate(peer.allowed_ips)
    }
    if config.routes.default and not any(prefix.endswith("/0") for prefix in owners):
        yield (
            "routes.default: has no effect: no peer's allowed_ips has 0.0.0.0/0 or ::/0; "
            "add it to the peer that leads to the rest of the internet"
        )
    for i, subnet in enumerate(config.routes.subnets):
        if (owner := owners.get(str(subnet))) is not None:
            yield (
                f"routes.subnets[{i}]: {subnet} is also in {owner}: netlog sends what goes there "
                "to the peer"
            )


def _of_overlays(config: ExternalConfig) -> Iterator[str]:
    for i, subnet in enumerate(config.routes.subnets):
        if subnet in config.routes.overlay:
            yield f"routes.subnets[{i}]: {subnet} is also in routes.overlay"
    if isinstance(config, ExecConfig) and not config.command:
        yield "command: is missing: netlog run needs it; netlog exec takes it from its command line"
    source = config.source
    password = source.password_file if isinstance(source, OpenVpnSourceConfig) else None
    if password is not None and not os.access(password, os.R_OK):
        yield f"source.password_file: {password}: this user cannot read it"


def _no_place(key: str, path: str) -> Iterator[str]:
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        what = "is not a directory" if folder.exists() else "does not exist"
        yield f"{key}: expected a path in a directory that exists, but '{folder}' {what}"


def _exists_and_is_locked(path: str) -> bool:
    """Whether a path, or else its directory, exists and cannot be written to by this user."""
    place = Path(path) if Path(path).exists() else Path(path).absolute().parent
    return place.exists() and not os.access(place, os.W_OK)
