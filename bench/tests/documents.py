"""Documents of runs, as small as they can be."""

from typing import Any

MACHINE = {"cpu": "A Processor", "virtual": True, "cores": 2, "caches": "32K/1M/8M"}
LOAD = {"median": 0.5, "other_cores": 0.1}


def row(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A row, a floor beside it."""
    return {
        "file": "bench_a",
        "bench": "test",
        "row": name,
        "measured": 20.0,
        "unit": "ns",
        "beside": 10.0,
        "beside_name": "floor",
        "ratio": 2.0,
        "budget": "<= 2x",
        "ok": True,
        **more,
    }


def document(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A document of a run."""
    return {
        "schema": 2,
        "kind": "bench",
        "date": "2026-11-23T10:00:00+00:00",
        "seed": 1,
        "command": "python -m bench",
        "quick": False,
        "load": LOAD,
        "ended": "",
        "not_run": [],
        "machine": MACHINE | {"kernel": "Linux 6"},
        "versions": {"compiler": "gcc 12", "python": "3.11"},
        "rows": list(rows),
        "without": [],
        "files": [],
        **more,
    }
