"""The version, for the package's metadata and `netlog --version`."""

__version__ = "0.2.0"
