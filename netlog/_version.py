"""The version, as the package's metadata and `netlog --version` have it."""

__version__ = "0.2.0"
