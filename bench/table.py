"""One table of what a run of the benches measured, as Markdown, with the machine named."""

import json
import os
import platform
from pathlib import Path
from typing import Any

COLUMNS = ("what", "measured", "beside it", "ratio", "budget", "")


def _cpu_model() -> str:
    """As the kernel names it."""
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


def machine() -> str:
    """The line that says what was measured on."""
    return (
        f"{_cpu_model()}, {os.cpu_count()} cores, caches {_caches()}; "
        f"Linux {platform.release()}; Python {platform.python_version()}"
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def _cells(info: dict[str, Any]) -> tuple[str, ...]:
    beside = _figure(info["beside"], info["unit"])
    return (
        info["row"],
        _figure(info["measured"], info["unit"]),
        f"{beside} ({info['beside_name']})" if beside else "",
        "" if info["ratio"] is None else f"{info['ratio']:.2f}",
        info["budget"] or "",
        {True: "ok", False: "MISS", None: ""}[info["ok"]],
    )


def markdown(results: Path) -> str:
    """The table of a pytest-benchmark JSON file.

    Args:
        results: the file that `--benchmark-json` wrote.

    Returns:
        The machine's line, the table, and the number of rows that missed their budget.
    """
    run = json.loads(results.read_text())
    infos = [entry["extra_info"] for entry in run["benchmarks"] if "row" in entry["extra_info"]]
    if not infos:
        return "Nothing was measured."
    rows = [COLUMNS, *(_cells(info) for info in infos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    budgeted = [info for info in infos if info["ok"] is not None]
    missed = sum(not info["ok"] for info in budgeted)
    seed, command = infos[0]["seed"], infos[0]["command"]
    return "\n".join(
        [
            f"{machine()}; {run['datetime'][:10]}; `{command}`, seed {seed}",
            "",
            *lines,
            "",
            f"{len(budgeted) - missed} of {len(budgeted)} budgets kept, {missed} missed.",
        ]
    )
