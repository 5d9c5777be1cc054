"""Figures of the last runs, for docs/figures."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt  # must come after mpl.use()

from bench import RESULTS

__all__ = ["draw"]

TITLES = {
    "count": ("Counting a packet in batches", "CPU ns a packet"),
    "poll": ("A poll, swap to file", "CPU ns a connection"),
}
# One colour for each family of curves; IPv6 is dashed.
COLOURS = {
    "netlog": "C0",
    "floor": "C7",
    "copying": "C7",
    "seed": "C3",
    "swap and drain": "C0",
    "whole poll": "C1",
}
Curves = dict[str, list[tuple[int, float]]]


def curves_of(document: dict[str, Any], figure: str) -> Curves:
    """Return the points of a figure's curves, in order."""
    points: Curves = defaultdict(list)
    for row in document["rows"]:
        curve = row.get("curve")
        if not curve or curve["figure"] != figure:
            continue
        for name, value in ((curve["measured"], row["measured"]), (curve["beside"], row["beside"])):
            if name and value is not None:
                points[name].append((curve["x"], value))
    return {name: sorted(of) for name, of in points.items()}


def _machine(document: dict[str, Any]) -> str:
    machine, load = document["machine"], document["load"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, caches {machine['caches']}; "
        f"{document['versions']['compiler']}; {document['date'][:10]}; "
        f"load average {load['median']:g}"
    )


def _save(document: dict[str, Any], path: Path) -> None:
    plt.figtext(0.01, 0.01, _machine(document), fontsize=6, color="0.4")
    plt.tight_layout(rect=(0, 0.03, 1, 1))
    # No date, and ids computed from the content, so that the same data gives the same file.
    plt.savefig(path, metadata={"Date": None})
    plt.close()


def draw_curves(document: dict[str, Any], figure: str, path: Path) -> bool:
    """Draw one figure of cost by connections; return whether there was something to draw."""
    curves = curves_of(document, figure)
    if not curves:
        return False
    title, unit = TITLES[figure]
    plt.figure(figsize=(7, 4.2))
    for name, points in curves.items():
        colour = next((c for family, c in COLOURS.items() if name.startswith(family)), "C2")
        style = "--" if "IPv6" in name else "-"
        xs, ys = zip(*points, strict=True)
        plt.plot(xs, ys, style, color=colour, marker="o", markersize=3, label=name)
    plt.xscale("log", base=2)
    plt.yscale("log")
    sizes = sorted({x for points in curves.values() for x, _ in points})
    labels = [f"{x >> 20} M" if x >= 1 << 20 else f"{x >> 10} k" for x in sizes]
    plt.xticks(sizes, labels)
    plt.xlabel("connections")
    plt.ylabel(unit)
    plt.title(title, fontsize=10)
    plt.grid(which="both", linewidth=0.3)
    plt.legend(fontsize=7, handlelength=4)
    _save(document, path)
    return True


def draw_stalls(document: dict[str, Any], path: Path) -> bool:
    """Draw the histograms of a writer's batches; return whether there are any."""
    found = [row["histogram"] for row in document["rows"] if "histogram" in row]
    if not found:
        return False
    _, axes = plt.subplots(1, len(found), figsize=(8, 3.6), sharey=True, squeeze=False)
    for axis, histogram in zip(axes[0], found, strict=True):
        edges = histogram["edges_ns"]
        for name, style in (("without", "C7"), ("with the poller", "C0")):
            counts = histogram[name]
            shares = [count / sum(counts) for count in counts]
            axis.stairs(shares, edges, color=style, label=name)
        axis.axvline(histogram["one_batch_refilled_ns"], color="C3", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_yscale("log")
        seen = [
            edge
            for name in ("without", "with the poller")
            for edge, count in zip(edges[1:], histogram[name], strict=True)
            if count
        ]
        axis.set_xlim(min(seen) / 2, max(seen) * 2)
        axis.set_xlabel("ns a batch of 64 packets")
        axis.set_title(f"{histogram['size']} connections, {histogram['swaps']} swaps", fontsize=9)
        axis.grid(linewidth=0.3)
    axes[0][0].set_ylabel("share of the batches")
    axes[0][0].legend(fontsize=7, title="dotted: tables not cached", title_fontsize=6)
    _save(document, path)
    return True


def draw(folder: Path) -> int:
    """Draw what the last runs measured; the exit status is 1 if there is nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "netlog", "svg.fonttype": "none"})
    drawn = 0
    for kind in ("curve", "bench"):
        results = RESULTS / f"{kind}.json"
        if not results.exists():
            sys.stderr.write(f"bench: {results} does not exist\n")
            continue
        document = json.loads(results.read_text())
        done = [
            folder / f"{name}.svg"
            for name in (TITLES if kind == "curve" else ())
            if draw_curves(document, name, folder / f"{name}.svg")
        ]
        if draw_stalls(document, folder / "stall.svg"):
            done.append(folder / "stall.svg")
        for path in done:
            sys.stdout.write(f"{path}\n")
        drawn += len(done)
    return 0 if drawn else 1
