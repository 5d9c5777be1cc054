"""Diagnostics: one line each, on standard error. Standard output is for messages only."""

import contextlib
import sys

__all__ = ["say"]


def say(line: str) -> None:
    """Tell the user something; who closed standard error does not want to know."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"netlog: {line}\n")
        sys.stderr.flush()
