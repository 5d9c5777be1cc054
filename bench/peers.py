"""Programs and libraries that netlog is compared with: where they are, and how to install them."""

import importlib.util
import os
import shutil
import subprocess

import pytest

from tests.support.namespace import missing_rights

__all__ = ["PATH", "installs", "missing", "rights_or_skip", "tool", "tool_or_skip"]

PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin", "/usr/local/go/bin"]
)
"""Includes folders of daemons and of Go, which many users do not have in PATH."""

PROGRAMS = {
    "nfpcapd": "nfdump",
    "softflowd": "softflowd",
    "softflowctl": "softflowd",
    "pmacctd": "pmacct",
    "argus": "argus-server",
    "racount": "argus-client",
    "iperf3": "iperf3",
    "socat": "socat",
    "vtund": "vtun",
    "fastd": "fastd",
    "openvpn": "openvpn",
    "openssl": "openssl",
    "nft": "nftables",
    "valgrind": "valgrind",
    "gcc": "gcc",
    "g++": "g++",
    "pkg-config": "pkg-config",
    "ping": "iputils-ping",
}
"""Programs that benches run, and their Debian packages."""
LIBRARIES = {"libdpdk": "libdpdk-dev", "absl_flat_hash_map": "libabsl-dev"}
"""Libraries by their pkg-config names, and their Debian packages."""
MODULES = ("nfstream",)


def installs(name: str) -> str:
    """Return how to install a program, a library or a Python module.

    Args:
        name: the program's name, the library's pkg-config name, or the module's name.

    Returns:
        A command, or where to look.
    """
    if name == "go":
        return "Go 1.26 or newer: https://go.dev/dl"
    if name in MODULES:
        return f".venv/bin/pip install {name}"
    package = PROGRAMS.get(name) or LIBRARIES.get(name)
    return f"sudo apt install {package}" if package else "not known to the benches"


def tool(name: str) -> str:
    """Return the path of a program.

    Raises:
        FileNotFoundError: it is not installed.
    """
    path = shutil.which(name, path=PATH)
    if path is None:
        raise FileNotFoundError(2, f"not installed ({installs(name)})", name)
    return path


def skip(name: str) -> None:
    """Skip a bench because a peer is missing."""
    pytest.skip(f"{name} is not installed: {installs(name)}")


def tool_or_skip(name: str) -> str:
    """Return the path of a program, or skip the bench."""
    path = shutil.which(name, path=PATH)
    if path is None:
        skip(name)
    return str(path)


def rights_or_skip() -> None:
    """Skip a bench where a namespace with an interface in it cannot be made."""
    if reason := missing_rights():
        pytest.skip(reason)


def _lacks_library(name: str) -> bool:
    config = shutil.which("pkg-config", path=PATH)
    return config is None or subprocess.run([config, "--exists", name], check=False).returncode != 0


def missing() -> list[str]:
    """Return a line for each missing peer, as a bench that needs it reports it."""
    absent = [name for name in ("go", *PROGRAMS) if shutil.which(name, path=PATH) is None]
    absent += [name for name in LIBRARIES if _lacks_library(name)]
    absent += [name for name in MODULES if importlib.util.find_spec(name) is None]
    return [f"{name} is not installed: {installs(name)}" for name in absent]
