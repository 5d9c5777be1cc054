"""`netlog run CONFIG`: a gateway, until it is told to stop."""

import argparse
import sys
from typing import Any

from netlog.cli.stop import StopRequest
from netlog.config import Config, FileSinkConfig, load_config
from netlog.errors import StateError

__all__ = ["add_parser"]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("run")
    parser.add_argument("config", metavar="CONFIG", help="the TOML file of the gateway")
