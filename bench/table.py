"""One table of what a run of the benches measured, as Markdown, with the machine named."""

import re
from collections import Counter
from typing import Any

COLUMNS = ("what", "measured", "beside it", "ratio", "budget", "")


def setting(document: dict[str, Any]) -> str:
    """The line that says what was measured on, and what else the machine did."""
    machine, versions, load = document["machine"], document["versions"], document["load"]
    return (
        f"{machine['cpu']}{' (virtual)' if machine['virtual'] else ''}, {machine['cores']} cores, "
        f"caches {machine['caches']}; {machine['kernel']}; {versions['compiler']}, "
        f"Python {versions['python']}; {document['date'][:10]}; load average {load['median']:g} "
        f"(others: {load['other_cores']:g} of {machine['cores']} cores); "
        f"`{document['command']}`, seed {document['seed']}"
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


def _absent(document: dict[str, Any]) -> list[str]:
    """A line for each reason why benches have no row."""
    reasons = Counter(
        (missing["what"], re.sub(r"^Skipped: ", "", missing["why"]))
        for missing in document["without"]
    )
    return [
        f"{count} {'bench' if count == 1 else 'benches'} {what}: {why}"
        for (what, why), count in reasons.items()
    ]


def markdown(document: dict[str, Any]) -> str:
    """The table of a run.

    Args:
        document: what bench.run.run() returned, or its JSON.

    Returns:
        The machine's line, the table, the number of rows that missed their budget, and which
        benches have no row, and why.
    """
    infos = document["rows"]
    rows = [COLUMNS, *(_cells(info) for info in infos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    budgeted = [info for info in infos if info["ok"] is not None]
    missed = sum(not info["ok"] for info in budgeted)
    table = lines if infos else ["Nothing was measured."]
    verdict = f"{len(budgeted) - missed} of {len(budgeted)} budgets kept, {missed} missed."
    absent = _absent(document)
    return "\n".join(
        [setting(document), "", *table, "", verdict, *([""] if absent else []), *absent]
    )
