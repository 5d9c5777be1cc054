"""Headscale and tailscaled are built by `make interop`, which says where they are."""

import os

if "NETLOG_INTEROP_BIN" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
