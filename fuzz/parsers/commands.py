"""Runs a command of netlog in this process, with its output in memory."""

import contextlib
import gc
import io
import logging
import os
import sys
from typing import NamedTuple

from netlog.cli.main import main

__all__ = ["Run", "run"]

logging.disable(logging.CRITICAL)
_out = os.memfd_create("out")
os.dup2(_out, 1)


class Run(NamedTuple):
    """What a command did."""

    status: int
    out: bytes
    err: str


def run(*arguments: str) -> Run:
    """Run a command to its end, in the main thread."""
    os.ftruncate(_out, 0)
    os.lseek(_out, 0, os.SEEK_SET)
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        status = main(arguments)
        sys.stdout.flush()
    # A command that is the process's last one collects nothing.
    gc.unfreeze()
    gc.enable()
    gc.collect()
    return Run(status, os.pread(_out, os.fstat(_out).st_size, 0), err.getvalue())
