"""What the tests of several folders use: fakes, twins, namespaces, gateways that run."""

from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).parents[2]
"""The top of the sources, which child processes import netlog from."""
