"""The version, as the package's metadata and `netlog --version` have it."""

__version__ = "0.1.0"
