"""The command line: one module for each command."""

from netlog.cli.main import main

__all__ = ["main"]
