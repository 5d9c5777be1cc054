"""Tables of what runs of the benches measured, as Markdown, with the machine named."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["joined", "line_of", "markdown", "setting"]

COLUMNS = ("what", "measured", "beside it", "ratio", "budget", "")
BUSY_CORES = 0.2
"""If others used more cores than this meanwhile, measure a file's figures again."""


def setting(document: dict[str, Any]) -> str:
    """Return the line with the machine, the versions, and what else the machine did."""
    machine, versions, load = document["machine"], document["versions"], document["load"]
    return (
        f"{machine['cpu']}{' (virtual)' if machine['virtual'] else ''}, {machine['cores']} cores, "
        f"caches {machine['caches']}; {machine['kernel']}; {versions['compiler']}, "
        f"Python {versions['python']}; {document['date'][:10]}; load average {load['median']:g} "
        f"(others: {load['other_cores']:g} of {machine['cores']} cores); "
        f"`{document['command']}`, seed {document['seed']}"
        + ("; two rounds of each, so the figures mean nothing" if document.get("quick") else "")
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def _ratio(info: dict[str, Any]) -> str:
    """Format the ratio; for rows measured in windows with the interval of its median."""
    if info["ratio"] is None:
        return ""
    text = f"{info['ratio']:.2f}"
    if "windows" in info:
        low, high = info["ratio_interval"]
        digits = 3 if high - low < 0.02 else 2
        text = f"{info['ratio']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    return text


def _cells(info: dict[str, Any]) -> tuple[str, ...]:
    beside = _figure(info["beside"], info["unit"])
    return (
        info["row"],
        _figure(info["measured"], info["unit"]),
        f"{beside} ({info['beside_name']})" if beside else "",
        _ratio(info),
        info["budget"] or "",
        {True: "ok", False: "MISS", None: ""}[info["ok"]],
    )


def line_of(info: dict[str, Any]) -> str:
    """Return a row by itself, in words."""
    name, *cells = _cells(info)
    return f"{name}: {', '.join(cell for cell in cells if cell)}"


def _absent(document: dict[str, Any]) -> list[str]:
    """Return a line for each reason why benches have no row."""
    reasons = Counter(
        (missing["what"], re.sub(r"^Skipped: ", "", missing["why"]))
        for missing in document["without"]
    )
    return [
        f"{count} {'bench' if count == 1 else 'benches'} {what}: {why}"
        for (what, why), count in reasons.items()
    ]


def _disturbed(document: dict[str, Any]) -> list[str]:
    """Return a line with the files during which others used the machine."""
    busy = [
        f"{file['file']} ({file['other_cores']:g} cores)"
        for file in document.get("files", ())
        if file["other_cores"] > BUSY_CORES
    ]
    return [f"Others were busy while these ran: {', '.join(busy)}."] if busy else []


def _ended(document: dict[str, Any]) -> list[str]:
    """Return a line with what is missing from an incomplete run."""
    if not document.get("ended"):
        return []
    return [f"Incomplete: {document['ended']}; not run: {', '.join(document['not_run'])}."]


def _grid(infos: Sequence[dict[str, Any]]) -> list[str]:
    rows = [COLUMNS, *(_cells(info) for info in infos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _verdict(infos: Sequence[dict[str, Any]]) -> str:
    budgeted = [info for info in infos if info["ok"] is not None]
    missed = sum(not info["ok"] for info in budgeted)
    return f"{len(budgeted) - missed} of {len(budgeted)} budgets kept, {missed} missed."


def joined(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the rows of several runs: each file's rows come from the last run that has any.

    Args:
        documents: from bench.run.run(), or its JSON, the oldest first.

    Returns:
        The rows, file by file in the order in which the files first appear.
    """
    files = {row["file"]: None for document in documents for row in document["rows"]}
    rows = []
    for file in files:
        of_file = [
            [row for row in document["rows"] if row["file"] == file] for document in documents
        ]
        rows += next(found for found in reversed(of_file) if found)
    return rows


def markdown(
    *documents: dict[str, Any], shown: Callable[[dict[str, Any]], bool] = lambda _row: True
) -> str:
    """Return the table of a run, or of several.

    Args:
        documents: from bench.run.run(), or its JSON, the oldest first.
        shown: whether a row is in the table. The text says how many rows are left out.

    Returns:
        A line for each run's machine; the table; the number of rows that missed their budget,
        including rows that are not shown; which benches have no row, and why; and which files
        others disturbed.
    """
    rows = joined(documents)
    selected = [row for row in rows if shown(row)]
    left_out = len(rows) - len(selected)
    hidden = f" Rows not shown here: {left_out}." if left_out else ""
    notes = [
        note
        for document in documents
        for note in (*_absent(document), *_disturbed(document), *_ended(document))
    ]
    return "\n".join(
        [
            *(line for document in documents for line in (setting(document), "")),
            *(_grid(selected) if selected else ["Nothing was measured."] * (not rows)),
            "",
            _verdict(rows) + hidden,
            *([""] if notes else []),
            *notes,
        ]
    )
