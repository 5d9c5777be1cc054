"""What a run was measured on, with, and beside: the machine, the versions, and its other users."""

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench import BENCH
from bench.compiling import compiler_name

SAMPLE_S = 5.0
PACKAGES = (
    *("nfdump", "softflowd", "pmacct", "argus-server", "conntrack", "libdpdk-dev", "libabsl-dev"),
    *("openvpn", "socat", "fastd", "vtun", "wireguard-go", "iperf3", "valgrind", "libc6"),
)
"""Debian's, whose versions are noted where they are installed."""


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _caches() -> str:
    """Sizes of the caches of the first processor: level 1 data, 2 and 3."""
    sizes = [
        (index / "size").read_text().strip()
        for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
        if (index / "type").read_text().strip() != "Instruction"
    ]
    return "/".join(sizes) or "unknown"


def describe() -> dict[str, Any]:
    """The machine: the JSON's member of this name."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(),
    }


def _said(*command: str) -> str:
    """What a program prints; nothing if it is not there, or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(
        command, cwd=BENCH, capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Of the tools that made the figures, and of the peers: the JSON's member of this name."""
    found = {"compiler": compiler_name(), "python": platform.python_version()}
    found["commit"] = _said("git", "describe", "--always", "--dirty", "--abbrev=12")
    if go := _said("go", "env", "GOVERSION"):
        found["go"] = go
        for folder in ("seed", "today"):
            module = re.search(r"tailscale\.com (v\S+)", (BENCH / folder / "go.mod").read_text())
            found[f"tailscale.com ({folder})"] = module[1] if module else "unknown"
    for package in PACKAGES:
        shown = _said("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package)
        if shown.startswith("installed "):
            found[package] = shown.split()[1]
    for name in ("numpy", "nfstream", "pytest-benchmark"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {name: version for name, version in found.items() if version}


def _busy_s() -> float:
    """CPU seconds that all cores have spent on something, since the machine started."""
    user, nice, system, _idle, _wait, *rest = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Load:
    """Watches, while a run goes on, how busy the machine is and how much of it was not the run."""

    def __init__(self) -> None:
        """Begin at once."""
        self._samples = [os.getloadavg()[0]]
        self._begun = (time.monotonic(), _busy_s(), _own_s())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._summary: dict[str, float] = {}

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._samples.append(os.getloadavg()[0])

    def __enter__(self) -> Self:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop, and sum up."""
        self._over.set()
        self._thread.join()
        elapsed_s, busy_s, own_s = (
            now - then
            for now, then in zip((time.monotonic(), _busy_s(), _own_s()), self._begun, strict=True)
        )
        self._summary = {
            "before": round(self._samples[0], 2),
            "median": round(statistics.median(self._samples), 2),
            "max": round(max(self._samples), 2),
            "seconds": round(elapsed_s, 1),
            "own_cores": round(own_s / elapsed_s, 2),
            "other_cores": round(max(0.0, busy_s - own_s) / elapsed_s, 2),
        }

    def summary(self) -> dict[str, float]:
        """The JSON's member `load`, once it is over."""
        return self._summary
