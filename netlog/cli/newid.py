"""`netlog newid`: a private id, by which an `http` sink uploads."""

import argparse
import os
from typing import Any

from netlog.cli.diagnostics import say
from netlog.sinks.remote.log_ids import new_private_id, public_id

__all__ = ["add_parser"]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "newid",
        help="make a private id for an http sink",
        description="Make a new private id for the `private_id_file` of an `http` sink. It goes to "
        "standard output, or to a file that only its owner can read, and is the only credential of "
        "the upload: whoever has it can write to the log. The public id, by which a server "
        "names the log, goes to standard error.",
        epilog="exit status: 0 on success, 1 on failure, as when the file is there already. "
        "example: netlog newid --output /etc/netlog/private-id",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="a new file for the id; one that is there stays as it is"
    )
    parser.set_defaults(execute=newid)


def newid(options: argparse.Namespace) -> int:
    """Make an id, and write it where it belongs."""
    private_id = new_private_id()
    if options.output is None:
        print(private_id, flush=True)  # noqa: T201 - the result of the command
    else:
        _write(options.output, private_id)
    say(f"public id: {public_id(private_id)}")
    return 0


def _write(path: str, private_id: str) -> None:
    """Write a new file, whole and on the disk, or none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{private_id}\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)  # noqa: PTH108 - as it was opened
        raise
