"""The command line: one module a command."""

from netlog.cli.main import main

__all__ = ["main"]
