"""Runs a harness: `python -m fuzz.parsers NAME [option of libFuzzer, folder or input]...`."""

import importlib
import sys
from pathlib import Path

import atheris

PROGRAMS = Path(__file__).parents[2] / "build" / "fuzz"
"""Where the runner writes a program for each harness, which libFuzzer starts when it merges."""


def main() -> None:
    """Instrument netlog, import the harness, and let libFuzzer call it."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["netlog"]):
        harness = importlib.import_module(f"fuzz.parsers.{name}")
        # netlog imports much of itself on first use.
        for seed in harness.seeds():
            harness.fuzz(seed)
    atheris.Setup([str(PROGRAMS / name), *arguments], harness.fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
