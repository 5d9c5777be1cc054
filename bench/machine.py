"""The conditions of a run: the machine, the versions, and the machine's other users."""

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
from dataclasses import dataclass
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
"""Debian packages whose versions are recorded if they are installed."""


CPU = "/sys/devices/system/cpu"
SETTINGS = {
    "turbo": (f"{CPU}/cpufreq/boost", f"{CPU}/intel_pstate/no_turbo"),
    "governor": (f"{CPU}/cpu0/cpufreq/scaling_governor",),
    "hyperthreads": (f"{CPU}/smt/active",),
    "huge_pages": ("/sys/kernel/mm/transparent_hugepage/enabled",),
}
"""Files in which the kernel reports settings that change figures, such as a processor's speed."""


def _setting(*paths: str) -> str:
    """Return the first setting of these files that exists. A virtual machine often has none."""
    for path in paths:
        try:
            said = Path(path).read_text().strip()
        except OSError:
            continue
        if path.endswith("no_turbo"):
            said = {"0": "1", "1": "0"}.get(said, said)
        chosen = re.search(r"\[(\w+)\]", said)
        return chosen[1] if chosen else {"0": "off", "1": "on"}.get(said, said)
    return "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _caches() -> str:
    """Return the sizes of the first processor's caches: level 1 data, 2 and 3."""
    sizes = [
        (index / "size").read_text().strip()
        for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
        if (index / "type").read_text().strip() != "Instruction"
    ]
    return "/".join(sizes) or "unknown"


def describe() -> dict[str, Any]:
    """Return the machine, for the JSON's member `machine`."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(),
        **{name: _setting(*paths) for name, paths in SETTINGS.items()},
    }


def _said(*command: str) -> str:
    """Return a program's output; "" if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(
        command, cwd=BENCH, capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Return the versions of the tools and of the peers, for the JSON's member `versions`."""
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


def _ticks() -> list[int]:
    """Return the machine's time by use since it started, as /proc/stat has it."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]


def steal_s() -> float:
    """Return the CPU seconds that a virtual machine's host gave to others, over all cores."""
    return _ticks()[7] / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What all cores have used until a moment, in CPU seconds; stolen time is part of busy."""

    moment_s: float
    busy_s: float
    own_s: float
    stolen_s: float

    @classmethod
    def now(cls) -> Self:
        """Return the use until now; own is this process's and that of children it waited for."""
        user, nice, system, _idle, _wait, *rest = _ticks()
        busy = (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in used)
        return cls(time.monotonic(), busy, own, steal_s())

    def cores_since(self, then: "Usage") -> dict[str, float]:
        """Return the seconds since then, and how many cores were used on average, and by whom."""
        elapsed_s = max(self.moment_s - then.moment_s, 0.001)
        own_s = self.own_s - then.own_s
        return {
            "seconds": round(elapsed_s, 1),
            "own_cores": round(own_s / elapsed_s, 2),
            "other_cores": round(max(0.0, self.busy_s - then.busy_s - own_s) / elapsed_s, 2),
            "steal_cores": round((self.stolen_s - then.stolen_s) / elapsed_s, 2),
        }


class Load:
    """Observes, during a run, how busy the machine is and how much of it is not the run."""

    def __init__(self) -> None:
        """Begin to measure."""
        self._samples = [os.getloadavg()[0]]
        self._begun = Usage.now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

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
        """Stop."""
        self._over.set()
        self._thread.join()

    def summary(self) -> dict[str, float]:
        """Return the JSON's member `load`, until now."""
        return {
            "before": round(self._samples[0], 2),
            "median": round(statistics.median(self._samples), 2),
            "max": round(max(self._samples), 2),
            **Usage.now().cores_since(self._begun),
        }
