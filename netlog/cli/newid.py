"""`netlog newid`: creates the private id with which an `http` sink uploads."""

import argparse
import os
from typing import Any

from netlog.cli.commands import add_command
from netlog.cli.diagnostics import say
from netlog.sinks.remote.log_ids import new_private_id, public_id

__all__ = ["add_parser"]

DESCRIPTION = """\
Create a new private id for the `private_id_file` of an `http` sink. netlog writes it
to standard output, or to a new file that only its owner can read. The public id, by
which a server names the log, is printed on standard error.

Keep the private id secret. It is the only credential of the upload: anyone who has
it can write to the log.
"""
EPILOG = """\
exit status: 0 on success; 1 on failure, for example if the file already exists.
example: netlog newid --output /etc/netlog/private-id
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "newid", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--output", metavar="FILE", help="new file for the id; an existing file is never changed"
    )
    parser.set_defaults(execute=newid)


def newid(options: argparse.Namespace) -> int:
    """Create an id, and write it to the file or to standard output."""
    private_id = new_private_id()
    if options.output is None:
        print(private_id, flush=True)  # noqa: T201 - the result of the command
    else:
        _write(options.output, private_id)
    say(f"public id: {public_id(private_id)}")
    return 0


def _write(path: str, private_id: str) -> None:
    """Write a new file. Either all of it is on the disk, or no file is left."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{private_id}\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)  # noqa: PTH108 - as it was opened
        raise
