"""What netlog costs: one claim a file, each measured beside its floor or its peer in one run."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results"

SEED = 20_221
"""Every random number of the benches comes from here; round k of a bench uses SEED + k."""
