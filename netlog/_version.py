"""The version, for the package's metadata and `netlog --version`."""

__version__ = "0.1.0"
